"""The order in which IPUs are given the clips of a list: a function of (seed, epoch), so nothing is to be remembered.

The library's own sampler draws from the global random state, which an evaluation changes. An order is a sampler for its
data loader, which asks for clips ahead of the training, and twice for the first ones: it compiles before it trains.
"""

import random
from contextlib import contextmanager
from typing import Any, ContextManager, Dict, Iterator, List, Mapping, Protocol


class Order(Protocol):
    """A sampler that can go on after any step, and is told of the steps that were taken."""

    def __len__(self) -> int:
        """Return how many clips one pass of the library has."""

    def __iter__(self) -> Iterator[Any]:
        """Yield what the examples are asked for by, from the step after the newest one taken on."""

    def after(self, step: int) -> ContextManager[None]:
        """Give the clips of the steps that follow a step, for as long as the context is open; DatasetInvalid."""

    def took(self, step: int) -> None:
        """Take note of a step that was taken, by its number from 1; DatasetInvalid where too much is left out."""

    def state(self) -> Dict[str, Any]:
        """Return what `load_state` takes, as JSON can say it."""

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Become what `state` returned."""


class ClipOrder:
    """Yields the places of an epoch's clips."""

    def __init__(self, clips: int, clips_per_step: int, seed: int) -> None:
        """`clips` of the train split, at least as many as one step takes."""
        self._clips = clips
        self._clips_per_step = clips_per_step
        self._seed = seed
        #: Over all epochs; what does not fill a step at an epoch's end is not used.
        self._steps_taken = 0

    def __len__(self) -> int:
        return self._clips

    def __iter__(self) -> Iterator[int]:
        epoch, step = divmod(self._steps_taken, self._clips // self._clips_per_step)
        return iter(self._epoch(epoch)[step * self._clips_per_step :])

    @contextmanager
    def after(self, step: int) -> Iterator[None]:
        """Give the clips of the steps that follow a step."""
        self._steps_taken = step
        yield

    def took(self, step: int) -> None:
        """Let the next epoch begin after this step."""
        self._steps_taken = step

    def state(self) -> Dict[str, Any]:
        """Return nothing: the number of the step says it all."""
        return {}

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Nothing is to be loaded."""

    def _epoch(self, epoch: int) -> List[int]:
        order = list(range(self._clips))
        random.Random(f"{self._seed}/{epoch}").shuffle(order)  # noqa: S311 -- nothing secret
        return order
