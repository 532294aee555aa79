"""The record of a run's steps over all its attempts: losses, learning rates and times. Its size is bounded.

It is saved with each state. A new attempt takes it from the state that it resumes from. What a killed attempt did after
that state is not in it.
"""

import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Tuple

from whisper_finetune_trainer.model.backend import StepDone

#: Beyond so many stretches, each two neighbours are joined. A run of 1,000,000 steps has a curve of 1,000 to 2,000
#: points.
_LARGEST = 2_000


@dataclass(frozen=True)
class Stretch:
    """The `steps` steps that end with `last_step`.

    `loss` is their mean, `seconds` their sum, and `learning_rate` that of the last one.
    """

    last_step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float


class StepRecord:
    """The stretches of a run. The same steps give the same record, however they are divided among attempts."""

    def __init__(self, largest: int = _LARGEST, clock: Callable[[], float] = time.monotonic) -> None:
        """The time of this attempt counts from now on. There are at most `largest` stretches."""
        self._largest = largest
        self._clock = clock
        self._started = clock()
        self._earlier_seconds = 0.0
        #: How many steps a full stretch has.
        self._width = 1
        self._stretches: List[Stretch] = []

    def add(self, done: StepDone) -> None:
        """Add the step after the newest one."""
        single = Stretch(done.step, 1, done.loss, done.learning_rate, done.seconds)
        self._stretches = _appended(self._stretches, single, self._width)
        if len(self._stretches) > self._largest:
            self._width *= 2
            self._stretches = _thinned(self._stretches, self._width)

    def stretches(self) -> Tuple[Stretch, ...]:
        """Return the stretches of all steps so far, in order."""
        return tuple(self._stretches)

    def seconds(self) -> float:
        """Return how long the trainer ran in all attempts. What a killed attempt lost does not count."""
        return self._earlier_seconds + self._clock() - self._started

    def values(self) -> Dict[str, Any]:
        """Return JSON values for `restore`."""
        rows = [[item.last_step, item.steps, item.loss, item.learning_rate, item.seconds] for item in self._stretches]
        return {"seconds": self.seconds(), "width": self._width, "stretches": rows}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Go on from what `values` returned. The time of this attempt is added to the time in it."""
        self._earlier_seconds = values["seconds"]
        self._width = values["width"]
        self._stretches = [Stretch(*row) for row in values["stretches"]]


def _appended(stretches: List[Stretch], new: Stretch, width: int) -> List[Stretch]:
    """Return the stretches with `new` added. It is joined to the last one if both are in the same `width` steps."""
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
