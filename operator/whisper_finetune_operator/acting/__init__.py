"""What goes out as it was decided: workloads, Leases of partitions and Events."""
