"""Open what a data set is made of: a path of this machine, or an address of a store, read by ranges."""

import errno
import io
import os
import posixpath
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Iterator

from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted, words_of
from whisper_finetune_trainer.stores import object_store, volumes

_FIELD = "dataset.source"
#: Bytes that one request fetches where a file is read piece by piece: a header, or the foot of a Parquet file.
_BLOCK_BYTES = 64 * 1024


def is_local(file: str) -> bool:
    """Return whether a file is a path of this machine."""
    return "://" not in file


@lru_cache(maxsize=8)
def _store(scheme: str) -> object_store.Store:
    return object_store.open_store(f"{scheme}://any", _FIELD)


def filesystem_of(address: str) -> Any:
    """Return the fsspec filesystem of an address. Each process has its own connections."""
    return _store(address.split("://", 1)[0]).filesystem


@contextmanager
def store_refusals_explained(file: str) -> Iterator[None]:
    """Turn a store's refusals, while a file is read, into TrainerErrors. What may be well later passes through.

    A token that expires in mid-run is such: the next attempt's pod reads the Secret anew.
    """
    if is_local(file):
        yield
        return
    store = object_store.open_store(file, _FIELD)
    with store.explained("DatasetInvalid"):
        yield


def open_file(file: str, block_bytes: int = _BLOCK_BYTES) -> BinaryIO:
    """Return a file that can be read and sought. FileNotFoundError, and what the store raises."""
    if is_local(file):
        return _open_path(file)
    opened: BinaryIO = filesystem_of(file).open(file, "rb", block_size=block_bytes, cache_type="readahead")
    return opened


def _open_path(path: str) -> BinaryIO:
    try:
        return volumes.open_plain(path)
    except OSError as error:
        if not volumes.says_nothing_is_there(error):
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error


def open_range(file: str, offset: int, size: int, block_bytes: int = _BLOCK_BYTES) -> BinaryIO:
    """Return `size` bytes from `offset` of a file as a file of its own, read as it is asked for."""
    return io.BufferedReader(_ByteRange(open_file(file, block_bytes), offset, size))


def read_bytes(file: str) -> bytes:
    """Return all of a file."""
    if not is_local(file):
        return bytes(filesystem_of(file).cat_file(file))
    with _open_path(file) as opened:
        return opened.read()


def size_bytes(file: str) -> int:
    """Return the size of a file."""
    return Path(file).stat().st_size if is_local(file) else int(filesystem_of(file).size(file))


def read_chunks(file: str, chunk_bytes: int) -> Iterator[bytes]:
    """Yield a file from its start to its end."""
    with open_file(file, chunk_bytes) as opened:
        yield from iter(lambda: opened.read(chunk_bytes), b"")


def read_range(file: str, offset: int, size: int) -> bytes:
    """Return `size` bytes from `offset`, fewer where the file ends before."""
    if not is_local(file):
        return bytes(filesystem_of(file).cat_file(file, start=offset, end=offset + size))
    with _open_path(file) as opened:
        opened.seek(offset)
        return opened.read(size)


def require_content(opened: BinaryIO, name: str) -> None:
    """Raise DatasetInvalid where git left a pointer in the place of an opened file."""
    if opened.read(len(volumes.GIT_LFS)) == volumes.GIT_LFS:
        raise TrainerError("DatasetInvalid", f"{quoted(posixpath.basename(name))} {volumes.IS_OF_GIT_LFS}")
    opened.seek(0)


def open_text(file: str) -> io.TextIOWrapper:
    """Return a file of UTF-8 text whose lines end at line feeds only. A byte-order mark is left out."""
    # utf-8-sig: files written on Windows begin with a byte-order mark, which would be part of the first key.
    # newline: JSON allows other separators inside of a string, and csv wants the line ends as they are.
    opened = open_file(file, 1024 * 1024)
    require_content(opened, file)
    return io.TextIOWrapper(opened, encoding="utf-8-sig", newline="\n")


@contextmanager
def in_utf8(name: str) -> Iterator[None]:
    """Raise DatasetInvalid where a text, while it is read, turns out to be in another encoding."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise TrainerError(
            "DatasetInvalid", f"{quoted(name)} is not UTF-8: {words_of(error)}; convert it to UTF-8"
        ) from error


class _ByteRange(io.RawIOBase):
    """`size` bytes from `offset` of a file. Closing it closes the file."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        """`file` is used by nobody else."""
        self._file, self._offset, self._size = file, offset, size
        self._position = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that a position can be sought."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, counted from the start of the range, from the present position, or from the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the range goes. Return the number of bytes."""
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        self._file.seek(self._offset + self._position)
        found = self._file.read(wanted)
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()
