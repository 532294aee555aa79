"""Says what is under way and keeps what it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """The demo's steps and their seconds, in the order in which they ended."""

    began: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def say(self, line: str) -> None:
        print(f"[{clock(self.elapsed)}] {line}", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say what begins, and at its end how many seconds it took."""
        self.say(f"{name} ...")
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        self.say(f"{name}: {self.seconds[name]:.1f} s")


def clock(seconds: float) -> str:
    """Return `MM:SS`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"
