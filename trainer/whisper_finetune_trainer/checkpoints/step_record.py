"""What the steps of a run were like and how long it took, over all its attempts: bounded, and saved with each state.

A new attempt takes it from the state that it goes on from, so what a killed attempt did after that state is not in it.
"""

import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Tuple

from whisper_finetune_trainer.backend import StepDone

#: Beyond these, each two neighbours become one: a run of 1,000,000 steps has a curve of 1,000 to 2,000 points.
_LARGEST = 2_000


@dataclass(frozen=True)
class Stretch:
    """Consecutive steps up to `last_step`: how many, their mean loss, the last one's learning rate, their seconds."""

    last_step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float


class StepRecord:
    """Grows by one step at a time. The same steps give the same record, whichever attempts they were taken in."""

    def __init__(self, largest: int = _LARGEST, clock: Callable[[], float] = time.monotonic) -> None:
        """The attempt's time counts from now on."""
        self._largest = largest
        self._clock = clock
        self._started = clock()
        self._earlier_seconds = 0.0
        #: Steps that one stretch may hold.
        self._width = 1
        self._stretches: List[Stretch] = []

    def add(self, done: StepDone) -> None:
        """Take in the step that follows the newest one."""
        single = Stretch(done.step, 1, done.loss, done.learning_rate, done.seconds)
        self._stretches = _appended(self._stretches, single, self._width)
        if len(self._stretches) > self._largest:
            self._width *= 2
            self._stretches = _thinned(self._stretches, self._width)

    def stretches(self) -> Tuple[Stretch, ...]:
        """Return all steps so far, in order."""
        return tuple(self._stretches)

    def seconds(self) -> float:
        """Return how long the trainer ran, over all attempts, without what was lost with those that were killed."""
        return self._earlier_seconds + self._clock() - self._started

    def values(self) -> Dict[str, Any]:
        """Return what `restore` takes, as JSON can say it."""
        rows = [[item.last_step, item.steps, item.loss, item.learning_rate, item.seconds] for item in self._stretches]
        return {"seconds": self.seconds(), "width": self._width, "stretches": rows}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Become what `values` returned. The time of this attempt so far is added to it."""
        self._earlier_seconds = values["seconds"]
        self._width = values["width"]
        self._stretches = [Stretch(*row) for row in values["stretches"]]


def _appended(stretches: List[Stretch], new: Stretch, width: int) -> List[Stretch]:
    """Return the stretches with one more, as part of the last one where it belongs to the same `width` steps."""
    if stretches and _stretch_index(stretches[-1], width) == _stretch_index(new, width):
        return [*stretches[:-1], _joined(stretches[-1], new)]
    return [*stretches, new]


def _thinned(stretches: List[Stretch], width: int) -> List[Stretch]:
    thinned: List[Stretch] = []
    for item in stretches:
        thinned = _appended(thinned, item, width)
    return thinned


def _stretch_index(stretch: Stretch, width: int) -> int:
    return (stretch.last_step - 1) // width


def _joined(first: Stretch, second: Stretch) -> Stretch:
    steps = first.steps + second.steps
    loss = (first.loss * first.steps + second.loss * second.steps) / steps
    return Stretch(second.last_step, steps, loss, second.learning_rate, first.seconds + second.seconds)
