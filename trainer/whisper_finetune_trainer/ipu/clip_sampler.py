"""The order in which IPUs are given the clips to train on: the clips themselves, block by block, step by step.

The library's own sampler draws from the global random state, which an evaluation changes. This one is a sampler for its
data loader, which asks for clips ahead of the training, and twice for the first ones: it compiles before it trains. It
yields clips in place of numbers, for those of a stream bring their sounds along, and the library sees the whole run as
one epoch: so it knows a length, and never asks for an epoch to begin anew.
"""

import random
from contextlib import contextmanager
from itertools import islice
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.step_order import StepOrder
from whisper_finetune_trainer.data.streams.stream_blocks import Block, TrainingPosition
from whisper_finetune_trainer.data.train_clips import TrainClips

#: The clips of a step.
Step = Tuple[Clip, ...]


class ClipSampler:
    """Yields the clips of the run's steps, from the step after the newest one taken on."""

    def __init__(
        self,
        clips: TrainClips,
        clips_per_step: int,
        steps: int,
        refuse_too_few: Callable[[int], None] = lambda _: None,
        check_stop: Callable[[], None] = lambda: None,
        on_read: Callable[[], None] = lambda: None,
    ) -> None:
        """`steps` of the whole run; `refuse_too_few` raises where so many clips of an epoch do not fill one step.

        `check_stop` and `on_read` are those of a `StepOrder`.
        """
        self._clips = steps * clips_per_step
        self._clips_per_step = clips_per_step
        self._run_steps = steps
        self._refuse_too_few = refuse_too_few
        self._order = StepOrder(clips, clips_per_step, self._divide, check_stop, on_read)
        self._coming: Iterator[Tuple[int, Tuple[Step, TrainingPosition]]] = iter(())
        #: Steps that the loader was given and that are not taken yet, by their numbers.
        self._given: Dict[int, Tuple[Step, TrainingPosition]] = {}

    def __len__(self) -> int:
        return self._clips

    def __iter__(self) -> Iterator[Clip]:
        # Again, where the library begins again: it compiles with the first step, and then trains on it.
        for clips, _ in list(self._given.values()):
            yield from clips
        for number, given in self._coming:
            self._given[number] = given
            yield from given[0]

    @contextmanager
    def after(self, step: int) -> Iterator[None]:
        """Give the clips of the steps that follow a step, the newest one taken; nothing is read once this is left."""
        try:
            with self._order.after(step) as following:
                self._coming = zip(range(step + 1, self._run_steps + 1), following)
                yield
        finally:
            # The library keeps its loader, which keeps this: no block may stay in memory, and no thread wait for one.
            self._coming = iter(())
            self._given.clear()

    def took(self, step: int) -> None:
        """Go on after this step from now on, and count the block that it is of; DatasetInvalid."""
        _, position = self._given.pop(step)
        self._order.took(position)

    def state(self) -> Dict[str, Any]:
        """Return what `load_state` takes, as JSON can say it."""
        return self._order.state()

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Go on where `state` was asked."""
        self._order.load_state(values)

    def _divide(self, block: Block) -> List[Step]:
        if block.is_last_of_epoch:
            self._refuse_too_few(block.cursor.clips + len(block.clips))
        return divide_into_samples(block, self._clips_per_step)


def divide_into_samples(block: Block, clips_per_step: int) -> List[Step]:
    """Return a block's clips, shuffled, by steps; what does not fill a step at an epoch's end is not used. Pure."""
    order = list(block.clips)
    random.Random(block.shuffle_key).shuffle(order)  # noqa: S311 -- nothing secret
    clips = iter(order)
    return [tuple(islice(clips, clips_per_step)) for _ in range(len(order) // clips_per_step)]
