"""Say what the demo does, and note how long it takes."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tqdm import tqdm


@dataclass
class Stopwatch:
    """The demo's steps and their seconds, in the order in which they ended."""

    began: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _stage_began: float = 0.0
    _said: str = ""

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def say(self, line: str) -> None:
        # `print` would write into a progress bar on the terminal's last line.
        tqdm.write(f"[{clock(self.elapsed)}] {line}", file=sys.stderr)
        sys.stderr.flush()

    def say_once(self, line: str) -> None:
        """Say a line, unless it is the last one that this method said."""
        if line and line != self._said:
            self._said = line
            self.say(line)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say what begins and, when it ends, how many seconds it took."""
        self.stage(name)
        yield
        self.stage("")

    def stage(self, name: str) -> None:
        """Begin a stage, unless it is the current one, and end the one before. An empty name only ends a stage."""
        if name == self._stage:
            return
        now = time.monotonic()
        if self._stage:
            took = now - self._stage_began
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + took
            self.say(f"{self._stage}: {took:.1f} s")
        self._stage, self._stage_began = name, now
        if name:
            self.say(f"{name} ...")


def clock(seconds: float) -> str:
    """Return `MM:SS`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"
