"""Sounds of Parquet files, taken out of their row groups into the scratch folder as far as it has room.

Beyond that a clip is read from its row group each time: slower, and right all the same.
"""

import errno
import logging
import os
import tempfile
import threading
from typing import Optional

from whisper_finetune_trainer.data.audio_places import AudioPlace, Cell, Member

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
logger = logging.getLogger(__name__)


class UnpackedSounds:
    """One file that sounds are appended to. It lies in the pod's own scratch folder, and ends with it."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        """`limit_bytes` at most are written."""
        self._folder = folder
        self._left_bytes = limit_bytes
        self._file: Optional[int] = None
        self._path = ""
        self._lock = threading.Lock()
        #: Bytes of the scratch folder that are taken.
        self.used_bytes = 0
        #: Sounds that found no room.
        self.left_out = 0

    def keep(self, cell: Cell, content: bytes) -> AudioPlace:
        """Return where a cell's sound lies from now on: in the file, or where it was."""
        with self._lock:
            if len(content) > self._left_bytes or not self._append(content):
                self.left_out += 1
                return cell
            self._left_bytes -= len(content)
            self.used_bytes += len(content)
            return Member(self._path, self.used_bytes - len(content), len(content), _name(cell))

    def close(self) -> None:
        """Let go of the file; what is in it stays to be read."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self.left_out:
            logger.warning(
                "%d clips found no room in the scratch folder (%.0f MB taken): each is read from its row group every "
                "time, which is slow; give the runtime more scratch space, or the data set smaller row groups",
                self.left_out,
                self.used_bytes / 1e6,
            )

    def _append(self, content: bytes) -> bool:
        try:
            if self._file is None:
                self._file, self._path = tempfile.mkstemp(prefix="sounds-", dir=self._folder)
            written = os.pwrite(self._file, content, self.used_bytes)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            written = 0
        if written < len(content):
            self._left_bytes = 0
        return written == len(content)


def _name(cell: Cell) -> str:
    return f"row {cell.row} of row group {cell.row_group} of {cell.file}"
