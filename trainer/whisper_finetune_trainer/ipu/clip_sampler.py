"""The order in which IPUs are given the clips to train on.

The library's own sampler draws from the global random state, which an evaluation changes. This one takes its place in
the library's data loader. The loader asks for clips ahead of the training, and for the first ones twice, because it
compiles before it trains.

A sampler usually yields indexes. This one yields the clips themselves, or passages of them, because clips of a stream
carry their sounds. To the library the whole run is one epoch: so it knows a length, and never asks for an epoch to
begin again.
"""

import random
from contextlib import contextmanager
from itertools import islice
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from whisper_finetune_trainer.data import passages
from whisper_finetune_trainer.data.passages import PackingRules, TrainItem
from whisper_finetune_trainer.data.run_clips import StepOrder, TrainClips
from whisper_finetune_trainer.data.streams.stream_blocks import Block, TrainingPosition

#: What a step takes: clips, or passages of them.
Step = Tuple[TrainItem, ...]


class ClipSampler:
    """Yields the clips of the run's steps, beginning after the newest step taken."""

    def __init__(
        self,
        clips: TrainClips,
        clips_per_step: int,
        steps: int,
        refuse_too_few: Callable[[int], None] = lambda _: None,
        check_stop: Callable[[], None] = lambda: None,
        on_read: Callable[[], None] = lambda: None,
        rules: Optional[PackingRules] = None,
    ) -> None:
        """`steps` are those of the whole run. Where there are `rules`, a step takes passages instead of clips.

        `refuse_too_few` is given the clips of an epoch, and raises where they do not fill one step. `check_stop` and
        `on_read` are those of a `StepOrder`.
        """
        self._clips = steps * clips_per_step
        self._clips_per_step = clips_per_step
        self._run_steps = steps
        self._refuse_too_few = refuse_too_few
        self._rules = rules
        self._order = StepOrder(clips, clips_per_step, self._divide, check_stop, on_read)
        self._coming: Iterator[Tuple[int, Tuple[Step, TrainingPosition]]] = iter(())
        #: Steps that the loader was given and that are not taken yet, by step number.
        self._given: Dict[int, Tuple[Step, TrainingPosition]] = {}

    def __len__(self) -> int:
        return self._clips

    def __iter__(self) -> Iterator[TrainItem]:
        # The library iterates twice: it compiles with the first step, and then trains on the same clips.
        for clips, _ in list(self._given.values()):
            yield from clips
        for number, given in self._coming:
            self._given[number] = given
            yield from given[0]

    @contextmanager
    def after(self, step: int) -> Iterator[None]:
        """Give the clips of the steps that follow `step`, the newest one taken.

        Nothing is read once the context is left.
        """
        try:
            with self._order.after(step) as following:
                self._coming = zip(range(step + 1, self._run_steps + 1), following)
                yield
        finally:
            # The library keeps its loader, and that keeps this sampler. No block may stay in memory because of it.
            self._coming = iter(())
            self._given.clear()

    def took(self, step: int) -> None:
        """Note that a step was taken, and count the block that it is from. Raises DatasetInvalid.

        What `state` returns from now on goes on after this step.
        """
        _, position = self._given.pop(step)
        self._order.took(position)

    def state(self) -> Dict[str, Any]:
        """Return JSON values for `load_state`."""
        return self._order.state()

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Go on after the step that was the newest when `state` returned these values."""
        self._order.load_state(values)

    def _divide(self, block: Block) -> List[Step]:
        if block.is_last_of_epoch:
            self._refuse_too_few(block.cursor.clips + len(block.clips))
        return divide_into_samples(block, self._clips_per_step, self._rules)


def divide_into_samples(block: Block, clips_per_step: int, rules: Optional[PackingRules] = None) -> List[Step]:
    """Return a block's clips or passages, shuffled and divided into steps. Pure.

    Clips at an epoch's end that do not fill a step are not used. Passages fill all steps, if there are enough clips.
    """
    order: List[TrainItem] = list(block.clips)
    if rules is not None:
        order = list(passages.plan_passages(block.clips, rules, block.shuffle_key, clips_per_step))
    random.Random(block.shuffle_key).shuffle(order)  # noqa: S311 -- nothing secret
    items = iter(order)
    return [tuple(islice(items, clips_per_step)) for _ in range(len(order) // clips_per_step)]
