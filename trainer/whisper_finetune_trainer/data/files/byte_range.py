"""A part of an open file as a file of its own, read as it is asked for."""

import io
from typing import Any, BinaryIO


class FilePart(io.RawIOBase):
    """`size` bytes from `offset` of a file; closing it closes the file."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        """`file` is used by nobody else."""
        self._file, self._offset, self._size = file, offset, size
        self._place = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be sought in."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, counted from the part's start, from where it is, or from the part's end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the part goes; return the number of bytes."""
        wanted = min(len(buffer), self._size - self._place)
        if wanted <= 0:
            return 0
        self._file.seek(self._offset + self._place)
        found = self._file.read(wanted)
        buffer[: len(found)] = found
        self._place += len(found)
        return len(found)

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()
