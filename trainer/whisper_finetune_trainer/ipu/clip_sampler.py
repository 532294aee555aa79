"""The order in which IPUs are given the clips of a stream: the clips themselves, with their sounds, block by block.

The library is given a sampler that yields clips in place of numbers, and sees the whole run as one epoch: so it knows a
length, and never asks for an epoch to begin anew.
"""

import random
from contextlib import contextmanager
from itertools import islice
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.step_order import Mark, StreamSteps
from whisper_finetune_trainer.data.streams.stream_blocks import Block
from whisper_finetune_trainer.data.streams.train_stream import TrainStream

#: The clips of a step.
Step = Tuple[Clip, ...]


class StreamOrder:
    """Yields clips: those of a block in an order that is a function of (seed, epoch, block)."""

    def __init__(
        self, stream: TrainStream, clips_per_step: int, steps: int, refuse_too_few: Callable[[int], None]
    ) -> None:
        """`steps` of the whole run; `refuse_too_few` raises where so many clips of an epoch do not fill one step."""
        self._clips = steps * clips_per_step
        self._clips_per_step = clips_per_step
        self._run_steps = steps
        self._seed = stream.seed
        self._refuse_too_few = refuse_too_few
        self._steps = StreamSteps(stream, clips_per_step, self._divide)
        self._coming: Iterator[Tuple[int, Tuple[Step, Mark]]] = iter(())
        #: Steps that the loader was given and that are not taken yet, by their numbers.
        self._given: Dict[int, Tuple[Step, Mark]] = {}

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
            with self._steps.following() as following:
                self._coming = zip(range(step + 1, self._run_steps + 1), following)
                yield
        finally:
            # The library keeps its loader, which keeps this: no block may stay in memory, and no thread wait for one.
            self._coming = iter(())
            self._given.clear()

    def took(self, step: int) -> None:
        """Go on after this step from now on, and count the block that it is of; DatasetInvalid."""
        _, mark = self._given.pop(step)
        self._steps.took(mark)

    def state(self) -> Dict[str, Any]:
        """Return where the stream stands after the newest step taken."""
        return self._steps.state()

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Go on where `state` was asked."""
        self._steps.load_state(values)

    def _divide(self, block: Block) -> List[Step]:
        is_last_of_epoch = block.following.epoch != block.cursor.epoch
        if is_last_of_epoch:
            self._refuse_too_few(block.cursor.clips + len(block.clips))
        return divided(block, self._seed, self._clips_per_step)


def divided(block: Block, seed: int, clips_per_step: int) -> List[Step]:
    """Return a block's clips, shuffled, by steps; what does not fill a step at an epoch's end is not used. Pure."""
    order = list(block.clips)
    cursor = block.cursor
    random.Random(f"{seed}/{cursor.epoch}/{cursor.block}").shuffle(order)  # noqa: S311 -- nothing secret
    clips = iter(order)
    return [tuple(islice(clips, clips_per_step)) for _ in range(len(order) // clips_per_step)]
