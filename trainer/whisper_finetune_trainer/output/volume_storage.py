"""A run's output on a mounted volume."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, Optional, Tuple

from whisper_finetune_trainer.machine.scratch_space import OutputNeed
from whisper_finetune_trainer.output import storage
from whisper_finetune_trainer.output.storage import Fault
from whisper_finetune_trainer.stores import volumes
from whisper_finetune_trainer.stores.volumes import Mount, RefusedFileError

_PROBE_NAME = ".write-probe"
_MEBIBYTE = 1 << 20


class VolumeStorage:
    """Files below one mounted folder. Paths are relative to it. Its methods raise OSError."""

    outlives_the_pod = True

    def __init__(self, root: Path, writer: str, mount: Optional[Mount] = None) -> None:
        """Runs that write to the same folder at the same time have different `writer`s. Links stay in the `mount`."""
        self._root = root
        self._writer = writer
        self._mount = mount or Mount(str(root), "the output folder")

    def probe(self, folder: str) -> None:
        """Make the folder, write a file into it and remove the file."""
        self._path(folder).mkdir(parents=True, exist_ok=True)
        self.write_bytes(f"{folder}/{_PROBE_NAME}", b"can this be written?\n")
        self._path(f"{folder}/{_PROBE_NAME}").unlink()

    def explain(self, error: BaseException) -> Optional[Fault]:
        """Return a permanent failure of the volume in words, or None for any other error."""
        words = storage.words_of_write_fault(error)
        if words is None:
            return None
        advice = "Make room, or take a larger claim or one that this pod may write, and make a new run"
        return Fault("OutputNotWritable", f"{words} ({self._free_bytes() // _MEBIBYTE} MiB are free)", advice)

    def scratch_need(self, state_bytes: int) -> OutputNeed:
        """Return a need of no folder. Folders are filled on the volume itself."""
        return OutputNeed(state_bytes, least_folders=0, most_folders=0)

    def allow_folders(self, folders: int) -> None:
        """Do nothing: no folder is ever on its way."""

    def names(self, folder: str) -> Tuple[str, ...]:
        """Return the names in a folder. They are empty where there is no such folder."""
        try:
            return tuple(sorted(path.name for path in self._path(folder).iterdir()))
        except OSError as error:
            if not volumes.says_nothing_is_there(error):
                raise
            return ()

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Return the bytes of every file below a folder, by its path relative to it."""
        root = self._path(folder)
        files = (path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): path.stat().st_size for path in files}

    def read_bytes(self, path: str) -> Optional[bytes]:
        """Return a file's content, or None where there is no such file."""
        try:
            with volumes.open_plain(str(self._path(path))) as file:
                return file.read()
        except OSError as error:
            if not volumes.says_nothing_is_there(error):
                raise
            return None

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file. A reader finds either the new content or the old."""
        target = self._unfollowed(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Network file systems, too, rename inside one folder in one step.
        temporary = target.with_name(f".{target.name}.{self._writer}.partial")
        # A killed attempt may have left one, or somebody may have put a link there.
        temporary.unlink(missing_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync_path(target.parent)

    def update_bytes(self, path: str, change: Callable[[Optional[bytes]], Optional[bytes]]) -> None:
        """Replace a file's content by what `change` returns for it, or leave it where that is None.

        Of two writers at the same time, the last one wins.
        """
        content = change(self.read_bytes(path))
        if content is not None:
            self.write_bytes(path, content)

    def new_folder(self, folder: str) -> Path:
        """Return an empty folder to fill. A folder of that name is removed."""
        self.remove_folder(folder)
        path = self._unfollowed(folder)
        path.mkdir(parents=True)
        return path

    def finish_folder(self, folder: str, last_name: str, last_content: bytes) -> None:
        """Flush every file of a filled folder to the disk, and only then write `last_name`."""
        # A network volume may report that it is full only here.
        for name in self.sizes(folder):
            _sync_path(self._path(f"{folder}/{name}"))
        self.write_bytes(f"{folder}/{last_name}", last_content)
        _sync_path(self._path(folder).parent)

    def discard_folder(self, folder: str) -> None:
        """Remove the folder. Half a checkpoint is of no use, and on a full disk it takes room."""
        self.remove_folder(folder)

    @contextlib.contextmanager
    def reading(self, folder: str, names: Iterable[str]) -> Iterator[Path]:
        """Yield the folder itself. Raises RefusedFileError for a file whose link leads out of the claim."""
        for name in names:
            self._path(f"{folder}/{name}")
        yield self._path(folder)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and all in it, if it exists. A link is removed, and not what it leads to."""
        path = self._unfollowed(folder)
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)

    def after_writes(self, action: Callable[[], None]) -> None:
        """Call `action` at once: nothing is written in the background."""
        action()

    def drop_waiting(self, folder: str) -> None:
        """Do nothing: no folder waits to be written."""

    def check(self) -> None:
        """Do nothing: nothing fails in the background."""

    def wait(self) -> None:
        """Return at once: everything is written already."""

    def _free_bytes(self) -> int:
        existing = next(path for path in (self._root, *self._root.parents) if os.path.exists(path))  # noqa: PTH110 (as above)
        return shutil.disk_usage(existing).free

    def _path(self, relative: str) -> Path:
        """Return the path to read something at, with all links resolved. Raises RefusedFileError out of the claim."""
        try:
            return Path(self._mount.resolve(str(self._root / relative)))
        except RefusedFileError as refused:
            raise RefusedFileError(f"output.uri: {refused.message}", "OutputNotWritable") from None

    def _unfollowed(self, relative: str) -> Path:
        """Return the path to make or remove something at. A link there is replaced, and not followed."""
        around, _, name = relative.rpartition("/")
        return self._path(around) / name


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
