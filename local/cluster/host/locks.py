"""A lock among processes."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.narration import say


@contextmanager
def exclusive(file: Path, purpose: str) -> Iterator[None]:
    """Lock `file` as long as the context lasts. The kernel frees the lock when the process ends, however it ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that is {purpose} ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
