"""The files of a data set, on this machine or in a store: list folders, open files, read ranges, read with threads.

A file is named by a local path, or by an address of a store. A process that is to end never waits for a thread that
reads, because a store may not answer for minutes.
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
#: How many bytes one request fetches where only a part of a file is read, such as a header.
_BLOCK_BYTES = 64 * 1024


def is_local(file: str) -> bool:
    """Return whether a file is named by a local path."""
    return "://" not in file


@lru_cache(maxsize=8)
def _store(scheme: str) -> object_store.Store:
    return object_store.open_store(f"{scheme}://any", _FIELD)


def filesystem_of(address: str) -> Any:
    """Return the fsspec filesystem of an address. Each process has its own connections."""
    return _store(address.split("://", 1)[0]).filesystem


@contextmanager
def store_refusals_explained(file: str) -> Iterator[None]:
    """Turn the refusals of a store while a file is read into TrainerErrors. Temporary faults pass through.

    A token that expires during the run is one of them: the next attempt's pod reads the Secret anew.
    """
    if is_local(file):
        yield
        return
    store = object_store.open_store(file, _FIELD)
    with store.explained("DatasetInvalid"):
        yield


def open_file(file: str, block_bytes: int = _BLOCK_BYTES) -> BinaryIO:
    """Open a file for reading and seeking. Raises FileNotFoundError, and what the store raises."""
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
    """Open `size` bytes from `offset` of a file as a file of its own. They are read when they are asked for."""
    return io.BufferedReader(_ByteRange(open_file(file, block_bytes), offset, size))


def read_bytes(file: str) -> bytes:
    """Return the whole content of a file."""
    if not is_local(file):
        return bytes(filesystem_of(file).cat_file(file))
    with _open_path(file) as opened:
        return opened.read()


def size_bytes(file: str) -> int:
    """Return the size of a file in bytes."""
    return Path(file).stat().st_size if is_local(file) else int(filesystem_of(file).size(file))


def read_chunks(file: str, chunk_bytes: int) -> Iterator[bytes]:
    """Yield the content of a file in chunks, from its start to its end."""
    with open_file(file, chunk_bytes) as opened:
        yield from iter(lambda: opened.read(chunk_bytes), b"")


def read_range(file: str, offset: int, size: int) -> bytes:
    """Return `size` bytes from `offset`, or fewer if the file ends before."""
    if not is_local(file):
        return bytes(filesystem_of(file).cat_file(file, start=offset, end=offset + size))
    with _open_path(file) as opened:
        opened.seek(offset)
        return opened.read(size)


def require_content(opened: BinaryIO, name: str) -> None:
    """Raise DatasetInvalid if an opened file is only a pointer of Git LFS."""
    if opened.read(len(volumes.GIT_LFS)) == volumes.GIT_LFS:
        raise TrainerError("DatasetInvalid", f"{quoted(posixpath.basename(name))} {volumes.IS_OF_GIT_LFS}")
    opened.seek(0)


def open_text(file: str) -> io.TextIOWrapper:
    """Open a file of UTF-8 text. Its lines end only at line feeds, and a byte-order mark is left out."""
    # utf-8-sig: files from Windows begin with a byte-order mark, which would be a part of the first key.
    # newline: JSON allows other line separators inside of a string, and csv needs the line ends as they are.
    opened = open_file(file, 1024 * 1024)
    require_content(opened, file)
    return io.TextIOWrapper(opened, encoding="utf-8-sig", newline="\n")


@contextmanager
def in_utf8(name: str) -> Iterator[None]:
    """Raise DatasetInvalid if a text turns out to be in another encoding while it is read."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise TrainerError(
            "DatasetInvalid", f"{quoted(name)} is not UTF-8: {words_of(error)}; convert it to UTF-8"
        ) from error


class _ByteRange(io.RawIOBase):
    """A file of `size` bytes from `offset` of another file. Closing it closes the other file."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        """Nobody else may use `file`."""
        self._file, self._offset, self._size = file, offset, size
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, counted from the start of the range, from the current position, or from the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, at most to the end of the range. Return the number of bytes."""
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        self._file.seek(self._offset + self._position)
        found = self._file.read(wanted)
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        super().close()


Kind = Literal["file", "folder"]


class _Entry(NamedTuple):
    kind: Kind
    size_bytes: int


class DataFolder:
    """A folder of a data set, local or in a store. Methods raise what the filesystem does, such as PermissionError."""

    def __init__(
        self, filesystem: Any, root: str, address: str, prefix: str = "", mount: Optional[Mount] = None
    ) -> None:
        """`filesystem` is one of fsspec, and `root` a path of it. `prefix` before such a path makes an address.

        Links in a local folder must not lead out of `mount`.
        """
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._prefix = prefix
        self._mount = mount
        #: The folder as the spec names it.
        self.address = address
        self._listing = lru_cache(maxsize=64)(self._list)

    @property
    def root(self) -> str:
        """The folder as an address, or as a local path."""
        return self._prefix + self._root

    def file(self, path: str) -> str:
        """Return the address or local path of a path in the folder. Raises RefusedFileError for a link out of it."""
        return self._prefix + self._full(path)

    def relative(self, path: str) -> Optional[str]:
        """Return a manifest's path relative to this folder, or None if it is outside.

        The path may be relative, absolute or an address. It is compared as text, so that links do not change the names
        of clips.
        """
        plain = path[len(self._prefix) :] if self._prefix and path.startswith(self._prefix) else path
        is_whole = plain.startswith("/") or "://" in plain or plain is not path
        found = posixpath.normpath(plain if is_whole else f"{self._root}/{plain}")
        return found[len(self._root) + 1 :] if found.startswith(f"{self._root}/") else None

    def kind(self, path: str) -> Optional[Kind]:
        """Return whether a path is a file or a folder, or None where there is nothing."""
        try:
            found = self._filesystem.info(self._full(path))
        except OSError as error:
            if not volumes.says_nothing_is_there(error):
                raise
            return None
        return self._kind_of({**found, "name": self._full(path)})

    def names(self, path: str = "") -> Tuple[str, ...]:
        """Return the names in a folder, in order. They are empty where there is no such folder."""
        return tuple(self._listing(path))

    def is_file(self, path: str) -> bool:
        """Return whether a path is a file. The listing of its folder is cached, because many paths are asked for."""
        folder, name = posixpath.split(path)
        return self._kind_in(folder, name) == "file"

    def size_bytes(self, path: str) -> int:
        """Return the size of a file in bytes by the listing of its folder, or 0 for a file that does not exist."""
        folder, name = posixpath.split(path)
        entry = self._listing(folder).get(name)
        return entry.size_bytes if entry else 0

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a folder, by the listing of its parent."""
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
        # A store may list the folder itself: some tools leave an empty object of its name there.
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


#: How often `check_stop` is called.
_STOP_SECONDS = 0.5
Result = TypeVar("Result")


@contextmanager
def reader_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads. The end of the context does not wait for what they still do."""
    executor = ThreadPoolExecutor(threads)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False)


def wait_for_result(future: "Future[Result]", check_stop: Callable[[], None]) -> Result:
    """Return a future's result. `check_stop` is called while it waits, and raises where the waiting is to end."""
    while not futures.wait([future], timeout=_STOP_SECONDS).done:
        check_stop()
    return future.result()
