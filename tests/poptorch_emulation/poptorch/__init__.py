"""An emulation of Graphcore's PopTorch 3.3.0 on the CPU: what optimum-graphcore uses of it, with real arithmetic.

It is for tests only, and in no image for users. It was written from PopTorch's documentation and behaviour, refuses
what PopTorch refuses, and says what it is by `__emulated__`. It does not show whether a graph lowers to Poplar, fits
into an IPU's memory or is fast. It does not have float16's range, and rounds only weights stochastically.
"""

from typing import Optional, Union

import torch

from poptorch import _impl, enums, ops, optim, options
from poptorch._impl import isRunningOnIpu
from poptorch._poplar_executor import PoplarExecutor
from poptorch.blocks import BeginBlock, removeBlocks
from poptorch.data_loader import DataLoader
from poptorch.enums import AutoStage, ConnectionType, DataLoaderMode, MatMulSerializationMode, OutputMode, ReductionType
from poptorch.errors import Error
from poptorch.ops import (
    Attribute,
    cond,
    custom_op,
    dynamic_slice,
    dynamic_update,
    identity_loss,
    nop,
    recomputationCheckpoint,
    serializedMatMul,
)
from poptorch.options import Options, PipelinedExecution, ShardedExecution, TensorLocationSettings
from poptorch.partition import hardware_version

__version__ = "3.3.0"
__emulated__ = True
__all__ = [
    "Attribute",
    "AutoStage",
    "BeginBlock",
    "ConnectionType",
    "DataLoader",
    "DataLoaderMode",
    "Error",
    "MatMulSerializationMode",
    "Options",
    "OutputMode",
    "PipelinedExecution",
    "PoplarExecutor",
    "ReductionType",
    "ShardedExecution",
    "TensorLocationSettings",
    "_impl",
    "cond",
    "custom_op",
    "dynamic_slice",
    "dynamic_update",
    "enums",
    "identity_loss",
    "inferenceModel",
    "ipuHardwareIsAvailable",
    "ipuHardwareVersion",
    "isRunningOnIpu",
    "nop",
    "ops",
    "optim",
    "options",
    "recomputationCheckpoint",
    "removeBlocks",
    "serializedMatMul",
    "setLogLevel",
    "trainingModel",
]

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERR", "OFF")

if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 1):
    # torch 2.0's GELU by oneDNN returns uninitialized memory as gradient where the incoming one is permuted, as it is
    # after Whisper's convolutions: silent garbage on a CPU.
    torch.backends.mkldnn.set_flags(False)


def ipuHardwareVersion() -> int:
    """Return 2 (Mk2) or 21 (Bow); refuse where there is no IPU."""
    version = hardware_version()
    assert version, "No IPU hardware available on this system"
    return version


def ipuHardwareIsAvailable(num_ipus: int = 1) -> bool:
    """Return whether the partition has IPUs."""
    return hardware_version() != 0


def setLogLevel(level: Union[str, int]) -> None:
    """Check the level: the emulation logs nothing."""
    if level not in LOG_LEVELS and not isinstance(level, int):
        raise ValueError(f"unknown log level {level!r}")


def trainingModel(
    model: Union[torch.nn.Module, PoplarExecutor],
    options: Optional[Options] = None,
    optimizer: Optional[optim.Optimizer] = None,
) -> PoplarExecutor:
    """Return the model as it trains on IPUs."""
    return PoplarExecutor(_unwrapped(model), options, training=True, optimizer=optimizer)


def inferenceModel(model: Union[torch.nn.Module, PoplarExecutor], options: Optional[Options] = None) -> PoplarExecutor:
    """Return the model as it infers on IPUs."""
    return PoplarExecutor(_unwrapped(model), options, training=False)


def _unwrapped(model: Union[torch.nn.Module, PoplarExecutor]) -> torch.nn.Module:
    return model._user_model if isinstance(model, PoplarExecutor) else model
