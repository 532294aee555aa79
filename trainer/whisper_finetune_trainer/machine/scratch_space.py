"""The scratch space: what is stored there, and how it is divided.

A pod's root file system is read-only. So temporary files and the caches of libraries go to the scratch folder. The
output takes its share first. The rest is for extracted sounds and cached encoder outputs.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from whisper_finetune_trainer.messages.errors import TrainerError

_GIGABYTE = 1e9
#: The folder below the scratch folder for each environment variable.
_FOLDERS = {
    "TMPDIR": "tmp",
    "HF_HOME": "huggingface",
    "XDG_CACHE_HOME": "cache",
}


@dataclass(frozen=True)
class OutputNeed:
    """How many folders an output has in the scratch space until they are written, and the size of each."""

    folder_bytes: int
    least_folders: int
    most_folders: int


@dataclass(frozen=True)
class ScratchShares:
    """How the scratch space is divided, in bytes."""

    #: How many folders of the output may be on their way at once. `output_bytes` is what they take together.
    output_folders: int
    output_bytes: int
    #: For sounds that are extracted from Parquet files.
    sounds_bytes: int
    #: For cached outputs of a frozen encoder. What the sounds do not use is added to it.
    encoder_outputs_bytes: int


def divide_scratch(limit_bytes: int, need: OutputNeed, resumed_bytes: int, address: str) -> ScratchShares:
    """Divide `limit_bytes` of scratch space. `address` is that of the output, for the message.

    Raises ConfigInvalid where the least number of the output's folders does not fit. `resumed_bytes` is what the
    backend writes there to resume from a state.
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
    """Point temporary files and caches to the scratch folder, unless the environment has set their folder already.

    Call it before the libraries are loaded.
    """
    for variable, name in _FOLDERS.items():
        folder = Path(os.environ.setdefault(variable, str(Path(scratch_folder, name))))
        folder.mkdir(parents=True, exist_ok=True)
