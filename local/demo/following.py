"""Follow a run to its end, and show how far it is."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from tqdm import tqdm

from demo import progress_of_run
from demo.faults import DemoError, NoAnswerError
from demo.progress_of_run import Sight
from demo.stopwatch import Stopwatch

SECONDS_BETWEEN_LOOKS = 1.0
#: Nobody mends anything during the demo. So a run that waits this long will not start.
SECONDS_TO_WAIT = 180
SECONDS_WITHOUT_ANSWER = 60


class StageBar:
    """A progress bar of the run's stage, by its status: of optimizer steps or of clips."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None
        self._stage = ""

    def show(self, sight: Sight) -> None:
        """Show how much is done. Close the bar where another stage has begun."""
        if sight.stage != self._stage or not sight.is_under_way:
            self.close()
        self._stage = sight.stage
        amount, progress = sight.amount, sight.status.progress
        if amount and not self._bar:
            self._bar = tqdm(total=amount.total, desc=sight.stage, unit=amount.unit, file=sys.stderr)
        if amount and self._bar and amount.done > self._bar.n:
            loss = progress.loss if progress and sight.is_training else None
            self._bar.set_postfix_str(f"loss {loss}" if loss else "", refresh=False)
            self._bar.update(amount.done - self._bar.n)
        if self._bar and sys.stderr.isatty():
            self._bar.refresh()  # its clock goes on between two steps

    def close(self) -> None:
        if self._bar:
            self._bar.close()
            self._bar = None


def follow(look: Callable[[], dict[str, Any] | None], watch: Stopwatch) -> Sight:
    """Follow a run and return what it shows at its end. Raises DemoError where it is deleted or does not start."""
    began_to_wait = time.monotonic()
    with closing(StageBar()) as bar:
        for sight in sights(look):
            bar.show(sight)
            if sight.is_finished:
                break
            watch.stage(sight.stage)
            watch.say_once(sight.waits_for)
            if sight.is_under_way:
                began_to_wait = time.monotonic()
            elif time.monotonic() - began_to_wait > SECONDS_TO_WAIT:
                raise DemoError(f"no start within {SECONDS_TO_WAIT} s, {sight.waits_for or 'without a reason'}")
    watch.stage("")
    return sight


def sights(look: Callable[[], dict[str, Any] | None]) -> Iterator[Sight]:
    """Yield what the run shows, once a second. Wait for an API server that does not answer for a while."""
    answered = time.monotonic()
    while True:
        try:
            run = look()
        except NoAnswerError:
            if time.monotonic() - answered > SECONDS_WITHOUT_ANSWER:
                raise
        else:
            if run is None:
                raise DemoError("the run is gone: somebody deleted it")
            answered = time.monotonic()
            yield progress_of_run.look(run)
        time.sleep(SECONDS_BETWEEN_LOOKS)
