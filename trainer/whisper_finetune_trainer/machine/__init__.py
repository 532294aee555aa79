"""What this machine gives an attempt: CPUs, scratch space, and its signal to stop."""
