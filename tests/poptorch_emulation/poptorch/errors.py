"""The exceptions that PopTorch raises."""


class Error(RuntimeError):
    """PopTorch's own error, for everything that its compiler or the device refuses."""
