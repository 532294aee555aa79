"""What a tracker can be told; each library has one. Methods may take long and may raise whatever the library raises."""

from typing import Mapping, Protocol, Sequence

from whisper_finetune_trainer.tracking.tracked_values import Point


class Tracker(Protocol):
    """One run on one server; a later attempt of the run continues it."""

    def begin(self, parameters: Mapping[str, str]) -> None:
        """Find the run or make it; called again where it failed."""

    def log(self, points: Sequence[Point]) -> None:
        """Send measures."""

    def end(self, tags: Mapping[str, str], *, is_done: bool) -> None:
        """Say what the run came to; not done: another attempt may follow."""
