"""V-IPU partitions: the admin's pools, the Leases that stand for them, and the queue of those who wait. Pure."""
