"""Where a run's output lies: the only module that writes there. Volumes; an object store needs the same methods."""

import os
import shutil
from pathlib import Path
from typing import Mapping, Optional, Tuple

_PROBE_NAME = ".write-probe"


class VolumeStorage:
    """Files below one mounted folder. Paths are relative to it; methods that write raise OSError."""

    def __init__(self, root: Path, writer: str) -> None:
        """`writer` tells runs apart that write to the same folder at the same time."""
        self._root = root
        self._writer = writer

    def probe(self, folder: str) -> None:
        """Make the folder, write a file into it and take it away again."""
        self._path(folder).mkdir(parents=True, exist_ok=True)
        self.write_bytes(f"{folder}/{_PROBE_NAME}", b"can this be written?\n")
        self._path(f"{folder}/{_PROBE_NAME}").unlink()

    def free_bytes(self) -> int:
        """Return how much may still be written."""
        existing = next(path for path in (self._root, *self._root.parents) if path.exists())
        return shutil.disk_usage(existing).free

    def names(self, folder: str) -> Tuple[str, ...]:
        """Return what lies in a folder; nothing where there is none."""
        try:
            return tuple(sorted(path.name for path in self._path(folder).iterdir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Return the bytes of every file below a folder, by its path relative to it."""
        root = self._path(folder)
        files = (path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in files}

    def read_bytes(self, path: str) -> Optional[bytes]:
        """Return a file's content, or None where there is no such file."""
        try:
            return self._path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file so that it is there whole or as it was before."""
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Renaming inside one folder is what network file systems do in one step too.
        temporary = target.with_name(f".{target.name}.{self._writer}.partial")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync_path(target.parent)

    def new_folder(self, folder: str) -> Path:
        """Return an empty local folder to fill; what lay under its name is gone."""
        self.remove_folder(folder)
        path = self._path(folder)
        path.mkdir(parents=True)
        return path

    def finish_folder(self, folder: str, last_name: str, last_content: bytes) -> None:
        """Make sure of every file of a filled folder, and only then write the one that says that it is whole."""
        # A network volume may report that it is full only here.
        for name in self.sizes(folder):
            _sync_path(self._path(f"{folder}/{name}"))
        self.write_bytes(f"{folder}/{last_name}", last_content)
        _sync_path(self._path(folder).parent)

    def local_folder(self, folder: str) -> Path:
        """Return a folder to read from."""
        return self._path(folder)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and all in it; nothing happens where there is none."""
        path = self._path(folder)
        if path.exists():
            shutil.rmtree(path)

    def _path(self, relative: str) -> Path:
        return self._root / relative


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
