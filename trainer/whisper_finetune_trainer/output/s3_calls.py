"""What fsspec has no call for and S3 has: conditional writes, and uploads that nobody finished."""

import logging
from typing import Any, Callable, Dict, Optional

from whisper_finetune_trainer.stores import store_faults
from whisper_finetune_trainer.stores.object_store import Store

#: Somebody else has written in between.
_OVERTAKEN = frozenset(("PreconditionFailed", "ConditionalRequestConflict", "412", "409"))
_UNKNOWN = frozenset(("NotImplemented", "501"))
_TRIES = 20
logger = logging.getLogger(__name__)


def update(
    store: Store,
    path: str,
    read: Callable[[], Optional[bytes]],
    change: Callable[[Optional[bytes]], Optional[bytes]],
) -> None:
    """Write what `change` makes of an object's content, unless None.

    A writer that comes in between is met by reading anew; on a store that knows no conditions the last writer stays.
    """
    for _ in range(_TRIES):
        condition = _condition(store, path)
        content = change(read())
        if content is None or _put(store, path, content, condition):
            return
    raise RuntimeError(f"{path} was changed by somebody else {_TRIES} times in a row")


def abort_unfinished_uploads(store: Store, folder: str) -> None:
    """Give up what a killed process was uploading below a folder: it is paid for, and nobody sees it."""
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
        # Not every policy that lets a run write lets it look here, and nothing depends on it.
        logger.info("cannot look for unfinished uploads: %s", error)


def _condition(store: Store, path: str) -> Dict[str, str]:
    # Before the content is read: what is written in between is then refused.
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
        code = store_faults.code(error)
        if code in _UNKNOWN:
            return _put(store, path, content, {})
        if code not in _OVERTAKEN:
            raise
        return False
    return True
