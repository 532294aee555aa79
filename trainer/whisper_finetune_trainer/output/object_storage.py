"""A run's output in an object store. Folders are filled in the scratch space and uploaded while the training goes on.

A folder without its manifest does not exist. So the manifest is uploaded last, and removed first.
"""

import contextlib
import dataclasses
import logging
import shutil
import time
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, Mapping, Optional, Set, Tuple

from whisper_finetune_trainer.machine.scratch_space import OutputNeed
from whisper_finetune_trainer.output import folder_manifest, storage
from whisper_finetune_trainer.output.storage import Fault
from whisper_finetune_trainer.output.uploads import UploadError, Uploads
from whisper_finetune_trainer.stores import objects, store_faults
from whisper_finetune_trainer.stores.object_store import Store
from whisper_finetune_trainer.stores.objects import Objects

_PROBE_NAME = ".write-probe"
_MEGABYTE = 1e6
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Uploaded:
    """A whole folder that was uploaded: its manifest, and the sizes in bytes of its other files."""

    manifest: bytes
    sizes: Mapping[str, int]


class ObjectStorage:
    """The objects below one address, and a staging folder in the scratch space."""

    outlives_the_pod = True

    def __init__(self, store: Store, staging: Path, uploads: Uploads) -> None:
        """Each folder is filled below `staging`, and removed from there once it is uploaded."""
        self._store = store
        self._staging = staging
        self._uploads = uploads
        self._objects = Objects(store)
        #: By folder. Nobody else writes to the run's folder, so the store is not asked for what this process uploaded.
        self._uploaded: Dict[str, _Uploaded] = {}

    def probe(self, folder: str) -> None:
        """Write an object and remove it. Abort uploads that a killed process did not finish."""
        shutil.rmtree(self._staging / folder, ignore_errors=True)
        self._objects.write(f"{folder}/{_PROBE_NAME}", b"can this be written?\n")
        self._objects.remove(f"{folder}/{_PROBE_NAME}")
        objects.abort_unfinished_uploads(self._store, self._store.path(folder))

    def explain(self, error: BaseException) -> Optional[Fault]:
        """Return a permanent failure of the store or of the scratch space in words, or None for any other error."""
        path = error.path if isinstance(error, UploadError) else None
        cause = error.__cause__ if isinstance(error, UploadError) and error.__cause__ else error
        if self._objects.has_written and store_faults.fault_meaning(cause) == "credentials":
            # Credentials that were good have expired. The next attempt's pod reads the Secret anew.
            return None
        words = storage.words_of_write_fault(cause) if store_faults.fault_code(cause) is None else None
        if words is not None:
            return dataclasses.replace(storage.full_scratch_fault(words, self._staging), path=path)
        explained = self._store.explain(cause, missing="OutputNotWritable", refused="OutputNotWritable")
        if explained is None:
            return None
        return Fault(explained.reason, explained.message, "Then make a new run", path)

    def scratch_need(self, state_bytes: int) -> OutputNeed:
        """Return a need of two folders: one is filled while the other is uploaded. One is enough if two do not fit."""
        return OutputNeed(state_bytes, least_folders=1, most_folders=2)

    def allow_folders(self, folders: int) -> None:
        """Allow so many folders to be on their way at once. `new_folder` waits before it makes another one."""
        self._uploads.folders_at_once = folders

    def names(self, folder: str) -> Tuple[str, ...]:
        """Return the names in a folder. They are empty where there is no such folder."""
        return self._objects.names(folder)

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Return the bytes of every object below a folder, by its path relative to it."""
        if folder in self._uploaded:
            return self._uploaded[folder].sizes
        return self._objects.sizes(folder)

    def read_bytes(self, path: str) -> Optional[bytes]:
        """Return an object's content, or None where there is none."""
        folder, _, name = path.rpartition("/")
        if name == folder_manifest.NAME and folder in self._uploaded:
            return self._uploaded[folder].manifest
        return self._objects.read(path)

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write an object in the background, after all writes before it."""
        self._uploads.add(path, lambda: self._objects.write(path, content))

    def update_bytes(self, path: str, change: Callable[[Optional[bytes]], Optional[bytes]]) -> None:
        """Replace an object's content, in the background, by what `change` returns for it, unless that is None.

        No other writer's change is lost, if the store knows conditional writes.
        """

        def update() -> None:
            objects.update_object(self._store, self._store.path(path), lambda: self.read_bytes(path), change)

        self._uploads.add(path, update)

    def new_folder(self, folder: str) -> Path:
        """Wait until there is room, and return an empty folder in the scratch space."""
        self._uploads.wait_for_room()
        self.discard_folder(folder)
        path = self._staging / folder
        path.mkdir(parents=True)
        return path

    def finish_folder(self, folder: str, last_name: str, last_content: bytes) -> None:
        """Upload the folder in the background, and then remove it from the scratch space."""
        done: Set[str] = set()
        self._uploads.add(folder, lambda: self._upload(folder, last_name, last_content, done), is_folder=True)

    def discard_folder(self, folder: str) -> None:
        """Remove a folder from the scratch space."""
        shutil.rmtree(self._staging / folder, ignore_errors=True)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder's objects, the manifest first."""
        self._uploaded.pop(folder, None)
        self._objects.remove_folder(folder, first=folder_manifest.NAME)

    @contextlib.contextmanager
    def reading(self, folder: str, names: Iterable[str]) -> Iterator[Path]:
        """Download the named files to the scratch space and yield their folder. It is removed with the context."""
        local = self._staging / "downloads" / folder
        try:
            for name in names:
                self._objects.download(f"{folder}/{name}", local / name)
            yield local
        finally:
            shutil.rmtree(local, ignore_errors=True)

    def after_writes(self, action: Callable[[], None]) -> None:
        """Call `action` in the thread that writes, after all writes before it."""
        self._uploads.add("what follows", action)

    def drop_waiting(self, folder: str) -> None:
        """Do not upload folders below `folder` that still wait, and remove them from the scratch space."""
        for dropped in self._uploads.drop_waiting(folder):
            self.discard_folder(dropped)

    def check(self) -> None:
        """Raise the UploadError of a failed write, if there is one."""
        self._uploads.check()

    def wait(self) -> None:
        """Wait until everything is uploaded. Raises UploadError."""
        self._uploads.wait()

    def _upload(self, folder: str, last_name: str, last_content: bytes, done: Set[str]) -> None:
        """Upload the files that are not in `done`. After a fault the next try goes on with the file that failed."""
        started = time.monotonic()
        local = self._staging / folder
        files = sorted(path for path in local.rglob("*") if path.is_file())
        sizes = {path.relative_to(local).as_posix(): path.stat().st_size for path in files}
        if not done:
            # A folder that is written anew must not seem whole before it is.
            self.remove_folder(folder)
        for name in sizes:
            if name not in done:
                self._objects.upload(local / name, f"{folder}/{name}")
                done.add(name)
        self._objects.write(f"{folder}/{last_name}", last_content)
        self._uploaded[folder] = _Uploaded(last_content, sizes)
        self.discard_folder(folder)
        seconds = time.monotonic() - started
        logger.info("%s is written: %.1f MB in %.1f s", folder, sum(sizes.values()) / _MEGABYTE, seconds)
