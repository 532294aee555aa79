"""The backend for GPUs and CPUs, in plain PyTorch."""
