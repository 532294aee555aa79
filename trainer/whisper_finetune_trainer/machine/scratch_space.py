"""Who may take how much of the scratch space: the output first, for what is unpacked and cached the rest. Pure."""

from dataclasses import dataclass

from whisper_finetune_trainer.messages.errors import TrainerError

_GIGABYTE = 1e9


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


def divide(limit_bytes: int, need: OutputNeed, resumed_bytes: int, address: str) -> ScratchShares:
    """Return the shares; ConfigInvalid where the output's least folders find no room on their way to `address`.

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
