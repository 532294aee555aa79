"""The scratch space: what goes there, and who may take how much of it.

A pod's root file system is read-only, so what libraries cache and what is temporary goes to the scratch folder. The
output takes its share first. What it leaves is for extracted sounds and cached encoder outputs.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from whisper_finetune_trainer.messages.errors import TrainerError

_GIGABYTE = 1e9
#: Environment variable to the folder below the scratch folder that it names.
_FOLDERS = {
    "TMPDIR": "tmp",
    "HF_HOME": "huggingface",
    "XDG_CACHE_HOME": "cache",
}


@dataclass(frozen=True)
class OutputNeed:
    """Folders that lie in the scratch space on their way to the output: at least and at most so many, of one size."""

    folder_bytes: int
    least_folders: int
    most_folders: int


@dataclass(frozen=True)
class ScratchShares:
    """Bytes of the scratch space for each of those who use it."""

    #: How many folders may be on their way at once, and what they take together.
    output_folders: int
    output_bytes: int
    #: Sounds that are taken out of Parquet files.
    sounds_bytes: int
    #: Cached outputs of a frozen encoder; what the sounds leave of their share comes to it.
    encoder_outputs_bytes: int


def divide_scratch(limit_bytes: int, need: OutputNeed, resumed_bytes: int, address: str) -> ScratchShares:
    """Return the shares. Raises ConfigInvalid where the output's fewest folders do not fit on their way to `address`.

    `resumed_bytes` are what the backend itself writes there of a state that it goes on from.
    """
    folders = need.least_folders
    while folders < need.most_folders and (folders + 1) * need.folder_bytes <= limit_bytes:
        folders += 1
    output_bytes = folders * need.folder_bytes
    if output_bytes > limit_bytes:
        raise TrainerError(
            "ConfigInvalid",
            f"output.uri: on its way to {address} this model needs {output_bytes / _GIGABYTE:.1f} GB of scratch space, "
            f"and there are {limit_bytes / _GIGABYTE:.1f} GB; give the runtime a larger scratchLimit, or write to "
            "pvc://",
        )
    left = max(0, limit_bytes - output_bytes - resumed_bytes)
    return ScratchShares(folders, output_bytes, sounds_bytes=left // 2, encoder_outputs_bytes=left - left // 2)


def use_scratch_folder(scratch_folder: str) -> None:
    """Point every cache that the environment has not placed yet below the scratch folder.

    It is called before libraries load.
    """
    for variable, name in _FOLDERS.items():
        folder = Path(os.environ.setdefault(variable, str(Path(scratch_folder, name))))
        folder.mkdir(parents=True, exist_ok=True)
