"""What goes out: workloads, Leases of partitions and Events, as it was decided."""
