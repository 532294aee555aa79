"""Sounds that cost much to come by where they lie, kept in the scratch folder as far as it has room.

They are those of Parquet files, taken out of their row groups, and long recordings of a store that many clips are
segments of. Beyond that a clip is read from where it lies each time: slower, and right all the same.
"""

import errno
import logging
import os
import tempfile
import threading
from typing import Iterable, Optional

from whisper_finetune_trainer.data.audio.audio_sources import AudioSource, ByteRange, ParquetCell
from whisper_finetune_trainer.data.files import source_files

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
#: Bytes of a recording that are in memory, and that one request fetches.
_CHUNK_BYTES = 4 * 1024 * 1024
logger = logging.getLogger(__name__)


class ExtractedAudio:
    """One file that sounds are appended to. It lies in the pod's own scratch folder, and ends with it."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        """`limit_bytes` at most are written."""
        # Without links, as files of this machine are opened.
        self._folder = os.path.realpath(folder)
        self._left_bytes = limit_bytes
        self._file: Optional[int] = None
        self._path = ""
        self._lock = threading.Lock()
        #: Bytes of the scratch folder that are taken.
        self.used_bytes = 0
        #: Sounds of Parquet files, and recordings, that found no room.
        self.left_out = 0
        self.recordings_left_out = 0

    def keep(self, cell: ParquetCell, content: bytes) -> AudioSource:
        """Return where a cell's sound lies from now on: in the file, or where it was."""
        kept = self._keep(_name(cell), len(content), (content,))
        with self._lock:
            self.left_out += kept is None
        return kept or cell

    def keep_file(self, file: str) -> Optional[ByteRange]:
        """Return where a store's file lies from now on, None where it does not fit. What the store raises."""
        size = source_files.size_bytes(file)
        kept = self._keep(file, size, source_files.read_chunks(file, _CHUNK_BYTES))
        with self._lock:
            self.recordings_left_out += kept is None
        return kept

    def close(self) -> None:
        """Let go of the file. What is in it stays to be read."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self.left_out:
            logger.warning(
                "%d clips did not fit into the scratch folder (%.0f MB taken): each is read from its row group every "
                "time, which is slow; give the runtime more scratch space, or the data set smaller row groups",
                self.left_out,
                self.used_bytes / 1e6,
            )
        if self.recordings_left_out:
            logger.warning(
                "%d recordings did not fit into the scratch folder (%.0f MB taken): their segments are sought in the "
                "store every time, by several requests each; give the runtime more scratch space",
                self.recordings_left_out,
                self.used_bytes / 1e6,
            )

    def _keep(self, name: str, size: int, chunks: Iterable[bytes]) -> Optional[ByteRange]:
        """Return where `size` bytes lie now, None where they find no room."""
        with self._lock:
            offset = self._reserve(size)
        if offset is None:
            return None
        # Without the lock: a recording takes its time, and others are fetched beside it.
        written = self._write(offset, size, chunks)
        if written is None:
            self._give_back(offset, size)
            return None
        return ByteRange(self._path, offset, written, name)

    def _reserve(self, size: int) -> Optional[int]:
        if size > self._left_bytes:
            return None
        try:
            if self._file is None:
                self._file, self._path = tempfile.mkstemp(prefix="sounds-", dir=self._folder)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            self._left_bytes = 0
            return None
        self._left_bytes -= size
        self.used_bytes += size
        return self.used_bytes - size

    def _give_back(self, offset: int, size: int) -> None:
        """Note that the disk is full. What was reserved is free again where nothing lies behind it."""
        with self._lock:
            self._left_bytes = 0
            if self.used_bytes == offset + size:
                self.used_bytes = offset

    def _write(self, offset: int, size: int, chunks: Iterable[bytes]) -> Optional[int]:
        """Return how many bytes there were, `size` at most. None where the disk is full."""
        written = 0
        for chunk in chunks:
            part = chunk[: size - written]
            if self._write_at(offset + written, part) < len(part):
                return None
            written += len(part)
        return written

    def _write_at(self, offset: int, content: bytes) -> int:
        if self._file is None:
            raise ValueError("the scratch folder's file is closed")
        try:
            return os.pwrite(self._file, content, offset)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            return 0


def _name(cell: ParquetCell) -> str:
    return f"row {cell.row} of row group {cell.row_group} of {cell.file}"
