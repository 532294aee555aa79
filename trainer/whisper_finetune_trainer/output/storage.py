"""What a run's output may lie on: the methods that every kind of storage has, and which of their failures stay.

Paths are relative to output.uri. A storage that writes in the background keeps the order in which it was told to write;
reads see what was written once `wait` has returned, and a write that failed is raised by the next call that may write.
"""

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, ContextManager, Iterable, Mapping, Optional, Protocol, Tuple

from whisper_finetune_api.causes import Reason
from whisper_finetune_trainer.machine.scratch_space import OutputNeed

CANNOT_WRITE = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    )
)
#: safetensors is written in Rust and keeps the number in its text only.
_RUST_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)")


@dataclass(frozen=True)
class Fault:
    """A failure that writing again would meet again."""

    #: Of causes.py.
    reason: Reason
    words: str
    advice: str
    #: What was being written, where it is not what the caller is writing now.
    path: Optional[str] = None


class Storage(Protocol):
    """Folders and small files below output.uri. Nothing else writes there."""

    #: Whether another attempt finds what this one has written.
    outlives_the_pod: bool

    def probe(self, folder: str) -> None:
        """Write into a folder and take it away again. Leftovers of a killed process go too."""

    def explain(self, error: BaseException) -> Optional[Fault]:
        """Return a failure that stays in words, or None for any other."""

    def scratch_need(self, state_bytes: int) -> OutputNeed:
        """Return what lies in the scratch space on its way, where a whole training state takes so many bytes."""

    def allow_folders(self, folders: int) -> None:
        """Let so many folders be on their way at once."""

    def names(self, folder: str) -> Tuple[str, ...]:
        """Return the names in a folder. There are none where there is no such folder."""

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Return the bytes of every file below a folder, by its path relative to it."""

    def read_bytes(self, path: str) -> Optional[bytes]:
        """Return a file's content, or None where there is no such file."""

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file so that it is there whole or as it was before."""

    def update_bytes(self, path: str, change: Callable[[Optional[bytes]], Optional[bytes]]) -> None:
        """Write what `change` makes of a file's content, unless None. Others may write the file at the same time."""

    def new_folder(self, folder: str) -> Path:
        """Return an empty local folder to fill. What lay under its name is gone once it is finished."""

    def finish_folder(self, folder: str, last_name: str, last_content: bytes) -> None:
        """Make sure of every file of a filled folder, and only then write the one that says that it is whole."""

    def discard_folder(self, folder: str) -> None:
        """Forget a new folder that could not be filled."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and all in it. Nothing happens where there is none."""

    def reading(self, folder: str, names: Iterable[str]) -> ContextManager[Path]:
        """Return a local folder to read these of its files from, as long as the context lasts."""

    def after_writes(self, action: Callable[[], None]) -> None:
        """Do something once all that was written so far is there."""

    def drop_waiting(self, folder: str) -> None:
        """Give up what is to be written below a folder and has not been begun."""

    def check(self) -> None:
        """Raise what a write in the background has failed with."""

    def wait(self) -> None:
        """Return once everything is written."""


def words_of_write_fault(error: BaseException) -> Optional[str]:
    """Return the system's words for a failure that writing again would meet again, or None for any other."""
    number = error.errno if isinstance(error, OSError) else _number_in_text(error)
    return os.strerror(number) if number in CANNOT_WRITE and number is not None else None


def _number_in_text(error: BaseException) -> Optional[int]:
    found = _RUST_ERROR_NUMBER.search(str(error))
    return int(found[1]) if found else None


def full_scratch_fault(words: str, staging: Path) -> Fault:
    """Return the fault of a scratch space that is full."""
    advice = "Give the runtime a larger scratchLimit, or write to pvc://, and make a new run"
    return Fault("OutputNotWritable", f"{words} in the scratch folder {staging.parent}", advice)
