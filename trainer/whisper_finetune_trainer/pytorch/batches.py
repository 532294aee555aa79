"""The order in which clips are trained on: a pure function of (seed, epoch), so that a resumed run needs no record.

Every clip occurs once in every epoch. All clips of a micro-batch share one window; a step's clips do too, except for
the steps that take what is left over of each window. All steps have `batch_size` clips but the last made of an epoch.
"""

import random
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Dict, List, NamedTuple, Sequence, Tuple, Union


@dataclass(frozen=True)
class MicroBatch:
    """Clips (by place in the train split) that go through the network together, in one window."""

    window_seconds: int
    clips: Tuple[int, ...]


Step = Tuple[MicroBatch, ...]


class StepSize(NamedTuple):
    """How many clips a step takes, and how many of them go through the network at once, at most."""

    batch_size: int
    micro_batch_size: int


def steps_per_epoch(clips: int, batch_size: int) -> int:
    """Return the optimizer steps that see every clip once."""
    return -(-clips // batch_size)


def epoch_steps(
    windows: Sequence[int], seed: int, epoch: Union[int, str], batch_size: int, micro_batch_size: int
) -> Tuple[Step, ...]:
    """Return the steps of an epoch, or of a part that the name `epoch` says, given each clip's window in seconds."""
    generator = random.Random(f"{seed}/{epoch}")  # noqa: S311 -- nothing secret
    order = list(range(len(windows)))
    generator.shuffle(order)
    by_window: Dict[int, List[int]] = {window: [] for window in sorted(set(windows))}
    for clip in order:
        by_window[windows[clip]].append(clip)
    full, left_over = [], []
    for clips in by_window.values():
        whole = len(clips) // batch_size * batch_size
        full += _chunks(clips[:whole], batch_size)
        left_over += clips[whole:]
    steps = full + _chunks(left_over, batch_size)
    generator.shuffle(steps)
    return tuple(_micro_batches(step, windows, micro_batch_size) for step in steps)


def _micro_batches(clips: Sequence[int], windows: Sequence[int], micro_batch_size: int) -> Step:
    return tuple(
        MicroBatch(window, tuple(chunk))
        for window, group in groupby(clips, key=lambda clip: windows[clip])
        for chunk in _parts(list(group), micro_batch_size)
    )


def _parts(items: Sequence[int], largest: int) -> List[Sequence[int]]:
    """Return as few parts of at most `largest` as can be, nearly equal: small ones would keep the hardware idle."""
    count = -(-len(items) // largest)
    ends = [part * len(items) // count for part in range(count + 1)]
    return [items[first:end] for first, end in zip(ends, ends[1:])]


def _chunks(items: Sequence[int], size: int) -> List[Sequence[int]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


class StepOrder:
    """Finds the clips of any step of a run."""

    def __init__(self, windows: Sequence[int], seed: int, size: StepSize) -> None:
        """`windows` in seconds of the train clips, by place."""
        self._windows = windows
        self._seed = seed
        self._size = size
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)

    def of(self, step: int) -> Step:
        """Return the micro-batches of step 1, 2, ..."""
        epoch, place = divmod(step - 1, steps_per_epoch(len(self._windows), self._size.batch_size))
        return self._epoch(epoch)[place]

    def first_epoch(self) -> List[MicroBatch]:
        """Return the micro-batches of the first epoch: every clip once."""
        return [micro_batch for step in self._epoch(0) for micro_batch in step]

    def _make_epoch(self, epoch: int) -> Tuple[Step, ...]:
        return epoch_steps(self._windows, self._seed, epoch, *self._size)
