"""The files of a data set, on this machine or in a store: listed by folder, opened, read by ranges and by many threads.

What is opened is a path of this machine, or an address of a store. Whoever is to end waits for no thread that reads: a
store may not answer for minutes.
"""

import errno
import io
import os
import posixpath
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator, Mapping, NamedTuple, Optional, Tuple, TypeVar

from typing_extensions import Literal

from whisper_finetune_trainer.messages.errors import TrainerError, quoted, words_of
from whisper_finetune_trainer.stores import object_store, volumes
from whisper_finetune_trainer.stores.volumes import Mount

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


Kind = Literal["file", "folder"]


class _Entry(NamedTuple):
    kind: Kind
    size_bytes: int


class DataFolder:
    """Lists what is there. Methods raise what the filesystem does, PermissionError among it."""

    def __init__(
        self, filesystem: Any, root: str, address: str, prefix: str = "", mount: Optional[Mount] = None
    ) -> None:
        """`filesystem` is fsspec's, `root` a path of it. `prefix` makes a path of it an address to open.

        Of a folder of this machine, `mount` is what its links may lead to.
        """
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._prefix = prefix
        self._mount = mount
        #: What the spec calls this folder.
        self.address = address
        self._listing = lru_cache(maxsize=64)(self._list)

    @property
    def root(self) -> str:
        """Return the folder as an address, or a path of this machine."""
        return self._prefix + self._root

    def file(self, path: str) -> str:
        """Return what `source_files` opens a path by. RefusedFileError where its links lead out of the mount."""
        return self._prefix + self._full(path)

    def relative(self, path: str) -> Optional[str]:
        """Return a path of a manifest below this folder, None for one outside. It may be a whole path or an address.

        It is compared as text: how clips are called does not depend on links.
        """
        plain = path[len(self._prefix) :] if self._prefix and path.startswith(self._prefix) else path
        is_whole = plain.startswith("/") or "://" in plain or plain is not path
        found = posixpath.normpath(plain if is_whole else f"{self._root}/{plain}")
        return found[len(self._root) + 1 :] if found.startswith(f"{self._root}/") else None

    def kind(self, path: str) -> Optional[Kind]:
        """Return what lies at a path, if anything does."""
        try:
            found = self._filesystem.info(self._full(path))
        except OSError as error:
            if not volumes.says_nothing_is_there(error):
                raise
            return None
        return self._kind_of({**found, "name": self._full(path)})

    def names(self, path: str = "") -> Tuple[str, ...]:
        """Return the names in a folder in order, nothing where there is no such folder."""
        return tuple(self._listing(path))

    def is_file(self, path: str) -> bool:
        """Return whether a path is a file, by the listing of its folder: many are asked for."""
        folder, name = posixpath.split(path)
        return self._kind_in(folder, name) == "file"

    def size_bytes(self, path: str) -> int:
        """Return the size of a file by the listing of its folder, 0 for one that is not there."""
        folder, name = posixpath.split(path)
        entry = self._listing(folder).get(name)
        return entry.size_bytes if entry else 0

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a folder, by the listing of the one around it."""
        folder, name = posixpath.split(path)
        return self._kind_in(folder, name) == "folder"

    def _kind_in(self, folder: str, name: str) -> Optional[Kind]:
        entry = self._listing(folder).get(name)
        return entry.kind if entry else None

    def _list(self, path: str) -> Mapping[str, _Entry]:
        full = self._full(path)
        try:
            found = self._filesystem.ls(full, detail=True)
        except OSError as error:
            if not volumes.says_nothing_is_there(error):
                raise
            return {}
        entries = ((posixpath.basename(entry["name"].rstrip("/")), entry) for entry in found)
        # A store may list the folder itself, as the empty object that some tools leave there.
        kept = ((name, entry) for name, entry in entries if entry["name"].rstrip("/") != full)
        return {name: _Entry(self._kind_of(entry), entry.get("size") or 0) for name, entry in sorted(kept, key=_name)}

    def _kind_of(self, entry: Mapping[str, Any]) -> Kind:
        is_link = entry.get("islink") or entry["type"] == "link"
        is_folder = self._filesystem.isdir(entry["name"]) if is_link else entry["type"] == "directory"
        return "folder" if is_folder else "file"

    def _full(self, path: str) -> str:
        full = f"{self._root}/{path}" if path else self._root
        return full if self._mount is None else self._mount.resolve(full)


def _name(listed: Tuple[str, Any]) -> str:
    return listed[0]


#: How often it is asked whether to end.
_STOP_SECONDS = 0.5
Result = TypeVar("Result")


@contextmanager
def reader_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads. What they are at when the context ends, for whatever reason, is not waited for."""
    executor = ThreadPoolExecutor(threads)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False)


def wait_for_result(future: "Future[Result]", check_stop: Callable[[], None]) -> Result:
    """Return a future's result. While it is waited for, `check_stop` raises where that is to end."""
    while not futures.wait([future], timeout=_STOP_SECONDS).done:
        check_stop()
    return future.result()
