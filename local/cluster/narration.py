"""What the program tells while it works: on stderr, so that stdout holds the answer alone."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what begins, and at its end how many seconds it took."""
    began = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what}: {time.monotonic() - began:.1f} s")
