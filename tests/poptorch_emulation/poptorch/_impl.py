"""What optimum-graphcore calls around generation. PopTorch wraps host modules there. The emulation never does."""

import torch


def unwrapModelIfNecessary(model: torch.nn.Module) -> None:
    """Do nothing: no module of the host is wrapped."""


def rewrapModelIfNecessary(model: torch.nn.Module) -> None:
    """Do nothing: no module of the host is wrapped."""


def isRunningOnIpu() -> bool:
    """Return False, as on the host: the emulated device runs the host's operators."""
    return False
