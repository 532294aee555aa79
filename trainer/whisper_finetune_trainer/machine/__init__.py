"""What the machine gives an attempt: CPUs, scratch space, and the signal to stop."""
