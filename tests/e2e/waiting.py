"""Wait for a condition. When the deadline passes, the failure shows what was there instead."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

SECONDS_BETWEEN_LOOKS = 0.2
Found = TypeVar("Found")


def wait_until(look: Callable[[], Found | None], seconds: float, what: str, explain: Callable[[], str]) -> Found:
    """Return the first true answer of `look`; after `seconds` fail the test with what `explain` says."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:.0f} s\n{explain()}", pytrace=False)
        time.sleep(SECONDS_BETWEEN_LOOKS)
