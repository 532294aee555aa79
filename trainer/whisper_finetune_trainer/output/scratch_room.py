"""What is said where the scratch space does not hold an output on its way."""

from pathlib import Path

from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.output.storage import Fault

_GIGABYTE = 1e9


def require(needed_bytes: int, left_bytes: int, address: str) -> None:
    """Raise TrainerError(ConfigInvalid) where less is left than is needed."""
    if needed_bytes > left_bytes:
        needed, left = needed_bytes / _GIGABYTE, max(0, left_bytes) / _GIGABYTE
        raise TrainerError(
            "ConfigInvalid",
            f"output.uri: on its way to {address} this model needs {needed:.1f} GB of scratch space, and {left:.1f} GB "
            "are left; give the runtime a larger scratchLimit, or write to pvc://",
        )


def fault(words: str, staging: Path) -> Fault:
    """Return the fault of a scratch space that is full."""
    advice = "Give the runtime a larger scratchLimit, or write to pvc://, and make a new run"
    return Fault("OutputNotWritable", f"{words} in the scratch folder {staging.parent}", advice)
