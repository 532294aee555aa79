"""What is said where the scratch space is full."""

from pathlib import Path

from whisper_finetune_trainer.output.storage import Fault


def fault(words: str, staging: Path) -> Fault:
    """Return the fault of a scratch space that is full."""
    advice = "Give the runtime a larger scratchLimit, or write to pvc://, and make a new run"
    return Fault("OutputNotWritable", f"{words} in the scratch folder {staging.parent}", advice)
