"""Files and folders of an object store by fsspec: each call has done its work when it returns."""

from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

from whisper_finetune_trainer.stores import store_faults
from whisper_finetune_trainer.stores.object_store import Store
from whisper_finetune_trainer.stores.transfer_log import TransferLog


class Objects:
    """What lies below one opened address; paths are relative to it."""

    def __init__(self, store: Store) -> None:
        """Send nothing yet."""
        self._store = store
        #: Whether the credentials have been good for writing.
        self.has_written = False

    def names(self, folder: str) -> Tuple[str, ...]:
        """Return what lies in a folder; nothing where there is none."""
        try:
            found = self._store.filesystem.ls(self._store.path(folder), detail=False)
        except FileNotFoundError as error:
            _require_bucket(error)
            return ()
        return tuple(sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in found))

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Return the bytes of every object below a folder, by its path relative to it."""
        remote = self._store.path(folder)
        found: Dict[str, Dict[str, Any]] = self._store.filesystem.find(remote, detail=True)
        return {name[len(remote) + 1 :]: int(entry["size"]) for name, entry in found.items()}

    def read(self, path: str) -> Optional[bytes]:
        """Return an object's content, or None where there is none."""
        try:
            content: bytes = self._store.filesystem.cat_file(self._store.path(path))
        except FileNotFoundError as error:
            _require_bucket(error)
            return None
        return content

    def write(self, path: str, content: bytes) -> None:
        """Write an object, whole or not at all."""
        self._store.filesystem.pipe_file(self._store.path(path), content)
        self.has_written = True

    def upload(self, local: Path, path: str) -> None:
        """Write a file as an object, a large one in parts; its progress goes to the log."""
        callback = TransferLog(f"uploading {path}")
        remote = self._store.path(path)
        self._store.filesystem.put_file(str(local), remote, callback=callback, **self._store.part_options)
        self.has_written = True

    def download(self, path: str, local: Path) -> None:
        """Read an object into a file; its progress goes to the log."""
        local.parent.mkdir(parents=True, exist_ok=True)
        callback = TransferLog(f"downloading {path}")
        self._store.filesystem.get_file(self._store.path(path), str(local), callback=callback)

    def remove(self, path: str) -> None:
        """Remove an object."""
        self._store.filesystem.rm_file(self._store.path(path))

    def remove_folder(self, folder: str, first: str) -> None:
        """Remove a folder's objects, the one of the name `first` before all others; nothing where there are none."""
        remote = self._store.path(folder)
        found = self._store.filesystem.find(remote)
        if f"{remote}/{first}" in found:
            self._store.filesystem.rm_file(f"{remote}/{first}")
        others = [name for name in found if name != f"{remote}/{first}"]
        if others:
            self._store.filesystem.rm(others)


def _require_bucket(error: FileNotFoundError) -> None:
    if store_faults.code(error) == "NoSuchBucket":
        raise error
