"""What a run's output can be stored on: the methods of every kind of storage, and its permanent failures.

Paths are relative to output.uri. A storage may write in the background. Then it writes in the order of the calls, and
reads see what was written once `wait` has returned. If a write fails, the next call that may write raises its error.
"""

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, ContextManager, Iterable, Mapping, Optional, Protocol, Tuple

from whisper_finetune_api.causes import Reason
from whisper_finetune_trainer.machine.scratch_space import OutputNeed

#: Errors of a disk that do not go away by trying again.
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
#: safetensors is written in Rust, and its errors have the number in their text only.
_RUST_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)")


@dataclass(frozen=True)
class Fault:
    """A permanent failure: writing again would fail in the same way."""

    #: One of causes.py.
    reason: Reason
    words: str
    advice: str
    #: What could not be written, if it is something else than the caller is writing now.
    path: Optional[str] = None


class Storage(Protocol):
    """Folders and small files below output.uri. Nothing else writes there."""

    #: Whether another attempt finds what this one has written, before the run is finished.
    outlives_the_pod: bool

    def probe(self, folder: str) -> None:
        """Find out whether a folder can be written, and leave nothing there. Remove what a killed process left."""

    def explain(self, error: BaseException) -> Optional[Fault]:
        """Return a permanent failure in words, or None for any other error."""

    def scratch_need(self, state_bytes: int) -> OutputNeed:
        """Return what is in the scratch space until it is written. A whole training state takes `state_bytes`."""

    def allow_folders(self, folders: int) -> None:
        """Allow so many folders to be on their way at once."""

    def names(self, folder: str) -> Tuple[str, ...]:
        """Return the names in a folder. They are empty where there is no such folder."""

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Return the bytes of every file below a folder, by its path relative to it."""

    def read_bytes(self, path: str) -> Optional[bytes]:
        """Return a file's content, or None where there is no such file."""

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file. A reader finds either the new content or the old."""

    def update_bytes(self, path: str, change: Callable[[Optional[bytes]], Optional[bytes]]) -> None:
        """Replace a file's content by what `change` returns for it, or leave it where that is None.

        Other runs may write the file at the same time.
        """

    def new_folder(self, folder: str) -> Path:
        """Return an empty local folder to fill. Once it is finished it replaces the folder of that name."""

    def finish_folder(self, folder: str, last_name: str, last_content: bytes) -> None:
        """Write every file of a filled folder, and only then `last_name`, which says that the folder is whole."""

    def discard_folder(self, folder: str) -> None:
        """Forget a new folder that could not be filled."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and all in it, if it exists."""

    def reading(self, folder: str, names: Iterable[str]) -> ContextManager[Path]:
        """Return a local folder with these files of the folder, for as long as the context lasts."""

    def after_writes(self, action: Callable[[], None]) -> None:
        """Call `action` once everything that was written so far is stored."""

    def drop_waiting(self, folder: str) -> None:
        """Do not write folders below `folder` whose writing has not begun."""

    def check(self) -> None:
        """Raise the error of a write in the background, if one failed."""

    def wait(self) -> None:
        """Return once everything is written."""


def words_of_write_fault(error: BaseException) -> Optional[str]:
    """Return the system's words for a permanent failure to write, or None for any other error."""
    number = error.errno if isinstance(error, OSError) else _number_in_text(error)
    return os.strerror(number) if number in CANNOT_WRITE and number is not None else None


def _number_in_text(error: BaseException) -> Optional[int]:
    found = _RUST_ERROR_NUMBER.search(str(error))
    return int(found[1]) if found else None


def full_scratch_fault(words: str, staging: Path) -> Fault:
    """Return the fault of a full scratch space. `words` are the system's, `staging` is the folder in it."""
    advice = "Give the runtime a larger scratchLimit, or write to pvc://, and make a new run"
    return Fault("OutputNotWritable", f"{words} in the scratch folder {staging.parent}", advice)
