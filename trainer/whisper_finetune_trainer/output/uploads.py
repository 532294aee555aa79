"""One thread that writes while the training goes on: in the order of the calls, and again after a network fault."""

import collections
import logging
import threading
import time
from dataclasses import dataclass
from typing import Callable, Deque, Optional, Tuple

from whisper_finetune_trainer.stores import store_faults

#: Between the tries of one write. In each of them the store's library itself tries several times.
PAUSES_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0)
#: How often a waiting thread checks whether it may go on waiting.
_CHECK_SECONDS = 0.5
logger = logging.getLogger(__name__)


class UploadError(Exception):
    """A write in the background failed. Its cause says why."""

    def __init__(self, path: str, cause: BaseException) -> None:
        """`path` is what could not be written."""
        super().__init__(f"cannot write {path}: {cause}")
        self.path = path


@dataclass(frozen=True)
class _Write:
    path: str
    action: Callable[[], None]
    #: A folder takes room in the scratch space until it is written.
    is_folder: bool


class Uploads:
    """Writes in the background, with at most `folders_at_once` folders at a time. After a failure it writes no more."""

    def __init__(self, check_time: Callable[[], None] = lambda: None) -> None:
        """The thread starts with the first write. `check_time` is called during a wait, and ends it by an exception."""
        self._check_time = check_time
        self.folders_at_once = 2
        self._changed = threading.Condition()
        self._waiting: Deque[_Write] = collections.deque()
        self._current: Optional[_Write] = None
        self._failure: Optional[UploadError] = None
        self._thread: Optional[threading.Thread] = None

    def add(self, path: str, action: Callable[[], None], *, is_folder: bool = False) -> None:
        """Have `action` write `path` after all writes before it. Raises the UploadError of an earlier write."""
        with self._changed:
            self.check()
            self._waiting.append(_Write(path, action, is_folder))
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
                self._thread.start()

    def wait_for_room(self) -> None:
        """Wait until another folder may be filled. Raises UploadError, and what `check_time` raises."""
        with self._changed:
            if self._folders() >= self.folders_at_once:
                logger.info("waiting for %s to be written before another folder is made", self._first_folder())
            self._wait_for(lambda: self._folders() < self.folders_at_once)

    def drop_waiting(self, prefix: str) -> Tuple[str, ...]:
        """Drop the folders below `prefix` whose writing has not begun, and return their paths."""
        with self._changed:
            dropped = [write for write in self._waiting if write.is_folder and write.path.startswith(f"{prefix}/")]
            for write in dropped:
                self._waiting.remove(write)
                logger.info("%s is not written, because a newer one is", write.path)
            self._changed.notify_all()
        return tuple(write.path for write in dropped)

    def check(self) -> None:
        """Raise the UploadError of a failed write, if there is one."""
        if self._failure is not None:
            raise self._failure from self._failure.__cause__

    def wait(self) -> None:
        """Wait until everything is written. Raises UploadError, and what `check_time` raises."""
        with self._changed:
            self._wait_for(lambda: not (self._waiting or self._current))

    def _wait_for(self, is_reached: Callable[[], bool]) -> None:
        while not self._changed.wait_for(lambda: self._failure or is_reached(), timeout=_CHECK_SECONDS):
            self._check_time()
        self.check()

    def _folders(self) -> int:
        under_way = [self._current] if self._current else []
        return sum(write.is_folder for write in [*under_way, *self._waiting])

    def _first_folder(self) -> str:
        under_way = [self._current] if self._current else []
        return next(write.path for write in [*under_way, *self._waiting] if write.is_folder)

    def _work(self) -> None:
        while self._failure is None:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                self._current = self._waiting.popleft()
            failure = self._do(self._current)
            with self._changed:
                self._current = None
                self._failure = failure
                self._changed.notify_all()

    def _do(self, write: _Write) -> Optional[UploadError]:
        for pause in PAUSES_SECONDS:
            error = _try(write)
            if error is None or store_faults.fault_meaning(error) is not None:
                return _failure(write, error)
            logger.warning("writing %s: %s; trying again in %.0f s", write.path, error, pause)
            time.sleep(pause)
        return _failure(write, _try(write))


def _try(write: _Write) -> Optional[Exception]:
    try:
        write.action()
    except Exception as error:  # noqa: BLE001 -- whatever it is, the training thread raises it
        return error
    return None


def _failure(write: _Write, error: Optional[Exception]) -> Optional[UploadError]:
    if error is None:
        return None
    failure = UploadError(write.path, error)
    failure.__cause__ = error
    return failure
