"""The order in which IPUs are given the clips: a function of (seed, epoch), so a resumed run needs no record. Pure.

The library's own sampler draws from the global random state, which an evaluation changes.
"""

import random
from typing import Iterator, List


class ClipOrder:
    """A sampler for a data loader: yields the places of an epoch's clips, from `next_step` of the run on."""

    def __init__(self, clips: int, clips_per_step: int, seed: int) -> None:
        """`clips` of the train split, at least as many as one step takes."""
        self._clips = clips
        self._clips_per_step = clips_per_step
        self._seed = seed
        #: Number of steps taken, over all epochs; what does not fill a step at an epoch's end is not used.
        self.next_step = 0

    def __len__(self) -> int:
        return self._clips

    def __iter__(self) -> Iterator[int]:
        epoch, step = divmod(self.next_step, self._clips // self._clips_per_step)
        return iter(self._epoch(epoch)[step * self._clips_per_step :])

    def _epoch(self, epoch: int) -> List[int]:
        order = list(range(self._clips))
        random.Random(f"{self._seed}/{epoch}").shuffle(order)  # noqa: S311 -- nothing secret
        return order
