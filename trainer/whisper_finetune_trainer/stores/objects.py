"""Files and folders of an object store by fsspec. Each call has done its work when it returns.

fsspec has no calls for two things that S3 has: conditional writes, and aborting unfinished uploads. They are here too.
"""

import logging
import time
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from fsspec.callbacks import Callback

from whisper_finetune_trainer.stores import store_faults
from whisper_finetune_trainer.stores.object_store import Store

#: Codes that mean that somebody else has written in between.
_OVERTAKEN = frozenset(("PreconditionFailed", "ConditionalRequestConflict", "412", "409"))
#: Codes that mean that the store does not know conditional writes.
_UNKNOWN = frozenset(("NotImplemented", "501"))
_TRIES = 20
_EVERY_SECONDS = 10.0
_MEGABYTE = 1_000_000
logger = logging.getLogger(__name__)


class Objects:
    """The objects below one opened address. Paths are relative to it."""

    def __init__(self, store: Store) -> None:
        """Nothing is sent yet."""
        self._store = store
        #: Whether a write with these credentials has succeeded.
        self.has_written = False

    def names(self, folder: str) -> Tuple[str, ...]:
        """Return the names in a folder. They are empty where there is no such folder."""
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
        """Write an object. A reader finds it whole or not at all."""
        self._store.filesystem.pipe_file(self._store.path(path), content)
        self.has_written = True

    def upload(self, local: Path, path: str) -> None:
        """Write a local file as an object, a large one in parts. The log shows the progress."""
        callback = TransferLog(f"uploading {path}")
        remote = self._store.path(path)
        self._store.filesystem.put_file(str(local), remote, callback=callback, **self._store.part_options)
        self.has_written = True

    def download(self, path: str, local: Path) -> None:
        """Read an object into a local file. The log shows the progress."""
        local.parent.mkdir(parents=True, exist_ok=True)
        callback = TransferLog(f"downloading {path}")
        self._store.filesystem.get_file(self._store.path(path), str(local), callback=callback)

    def remove(self, path: str) -> None:
        """Remove an object."""
        self._store.filesystem.rm_file(self._store.path(path))

    def remove_folder(self, folder: str, first: str) -> None:
        """Remove the objects of a folder, if there are any. The object named `first` goes before all others."""
        remote = self._store.path(folder)
        found = self._store.filesystem.find(remote)
        if f"{remote}/{first}" in found:
            self._store.filesystem.rm_file(f"{remote}/{first}")
        others = [name for name in found if name != f"{remote}/{first}"]
        if others:
            self._store.filesystem.rm(others)


def _require_bucket(error: FileNotFoundError) -> None:
    if store_faults.fault_code(error) == "NoSuchBucket":
        raise error


def update_object(
    store: Store,
    path: str,
    read: Callable[[], Optional[bytes]],
    change: Callable[[Optional[bytes]], Optional[bytes]],
) -> None:
    """Replace an object's content by what `change` returns for it, or leave it where that is None.

    Where another writer comes in between, both functions are called again. On a store without conditional writes the
    last writer wins.
    """
    for _ in range(_TRIES):
        condition = _condition(store, path)
        content = change(read())
        if content is None or _put(store, path, content, condition):
            return
    raise RuntimeError(f"{path} was changed by somebody else {_TRIES} times in a row")


def abort_unfinished_uploads(store: Store, folder: str) -> None:
    """Abort what a killed process was uploading below a folder. Such parts are invisible, and cost money."""
    if store.scheme != "s3":
        return
    bucket, _, prefix = folder.partition("/")
    try:
        found = store.filesystem.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/")
        for upload in found.get("Uploads", []):
            identity = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            store.filesystem.call_s3("abort_multipart_upload", Bucket=bucket, **identity)
            logger.info("gave up an unfinished upload of %s", upload["Key"])
    except OSError as error:
        # A policy that lets a run write need not let it list uploads, and nothing depends on it.
        logger.info("cannot list unfinished uploads: %s", error)


def _condition(store: Store, path: str) -> Dict[str, str]:
    # This comes before the content is read. So the store refuses the write if the object changed in between.
    if store.scheme != "s3":
        return {}
    try:
        return {"IfMatch": store.filesystem.info(path)["ETag"]}
    except FileNotFoundError:
        return {"IfNoneMatch": "*"}


def _put(store: Store, path: str, content: bytes, condition: Dict[str, str]) -> bool:
    if not condition:
        store.filesystem.pipe_file(path, content)
        return True
    bucket, _, key = path.partition("/")
    arguments: Dict[str, Any] = {"Bucket": bucket, "Key": key, "Body": content}
    try:
        store.filesystem.call_s3("put_object", **arguments, **condition)
    except OSError as error:
        code = store_faults.fault_code(error)
        if code in _UNKNOWN:
            return _put(store, path, content, {})
        if code not in _OVERTAKEN:
            raise
        return False
    return True


class TransferLog(Callback):  # type: ignore[misc]  # fsspec ships no types
    """Logs the progress of a transfer. fsspec calls it after each part. Short transfers leave no line."""

    def __init__(self, what: str) -> None:
        """`what` is the beginning of each line, such as `downloading model.safetensors`."""
        super().__init__()
        self._what = what
        self._said_at = time.monotonic()

    def call(self, *_: Any, **__: Any) -> None:
        """Log how much is done, unless that was logged just now."""
        if time.monotonic() - self._said_at >= _EVERY_SECONDS:
            self._said_at = time.monotonic()
            logger.info("%s: %.0f of %.0f MB", self._what, self.value / _MEGABYTE, (self.size or 0) / _MEGABYTE)
