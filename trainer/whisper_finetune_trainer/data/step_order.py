"""The order of a training's steps, and where it stands between two of them: what a backend saves to go on exactly."""

from contextlib import contextmanager
from typing import Any, Callable, Dict, Generic, Iterator, Mapping, Sequence, Tuple, TypeVar

from whisper_finetune_trainer.data.clip_statistics import ClipStatistics
from whisper_finetune_trainer.data.streams.stream_blocks import START, Block, TrainingPosition
from whisper_finetune_trainer.data.train_clips import TrainClips

Step = TypeVar("Step")


class StepOrder(Generic[Step]):
    """Parts the blocks of a training's clips into a backend's steps, and knows the newest one that was taken."""

    def __init__(
        self,
        clips: TrainClips,
        clips_per_step: int,
        divide: Callable[[Block], Sequence[Step]],
        check_stop: Callable[[], None] = lambda: None,
        on_read: Callable[[], None] = lambda: None,
    ) -> None:
        """`divide` is a function of the block alone: a resumed run divides it again and leaves out the steps taken.

        `check_stop` raises where the training is to end, while clips are waited for; `on_read` is called when more was
        read of a stream.
        """
        self._clips = clips
        self._clips_per_step = clips_per_step
        self._divide = divide
        self._check_stop = check_stop
        self._on_read = on_read
        self._newest = START

    @contextmanager
    def after(self, step: int) -> Iterator[Iterator[Tuple[Step, TrainingPosition]]]:
        """Give the steps that follow a step, the newest one taken, without end; each with the position after it.

        They may be asked for ahead of the training. Nothing is read once the context is left. DatasetInvalid, and what
        a store raises.
        """
        self._newest = self._clips.find_position(step, lambda block: len(self._divide(block))) or self._newest
        with self._clips.blocks(self._newest.cursor, self._clips_per_step, self._check_stop) as blocks:
            yield self._steps(blocks, self._newest)

    def took(self, position: TrainingPosition) -> None:
        """Go on from this position from now on, and count the block that it is in; DatasetInvalid."""
        if position.read != self._newest.read:
            self._record(position)
        self._newest = position

    def state(self) -> Dict[str, Any]:
        """Return what `load_state` takes, as JSON can say it: of a list nothing, for the step's number says it all."""
        return self._clips.values_of(self._newest)

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Go on where `state` was asked; DatasetInvalid."""
        self._newest = self._clips.position_of(values)
        self._record(self._newest)

    def _record(self, position: TrainingPosition) -> None:
        self._clips.record(position.read)
        self._on_read()

    def _steps(self, blocks: Iterator[Block], start: TrainingPosition) -> Iterator[Tuple[Step, TrainingPosition]]:
        before, taken = start.before, start.steps_taken
        for block in blocks:
            read = before.plus(block.statistics)
            steps = self._divide(block)
            for number, step in enumerate(steps[taken:], taken + 1):
                yield step, _position_after(number, len(steps), block, before, read)
            before, taken = read, 0


def _position_after(
    number: int, steps: int, block: Block, before: ClipStatistics, read: ClipStatistics
) -> TrainingPosition:
    """Return the position after a step of a block, by its number from 1; after its last one the next block begins."""
    if number == steps:
        return TrainingPosition(block.following, 0, read, read)
    return TrainingPosition(block.cursor, number, before, read)
