"""The backend for GPUs and CPUs: plain PyTorch."""
