"""V-IPU partitions: the admin's pools, the Leases that stand for them, and the line of those who wait. Pure."""
