"""The clips of each optimizer step, whether they are a list or a stream, and where a resumed run goes on with them."""

from contextlib import contextmanager
from itertools import count
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, NamedTuple, Protocol, Tuple

from whisper_finetune_api.run import Schedule
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.stream_blocks import Block, Cursor
from whisper_finetune_trainer.data.tally import Tally
from whisper_finetune_trainer.data.train_stream import TrainStream
from whisper_finetune_trainer.pytorch import batches

#: Window of a clip, in seconds.
WindowOf = Callable[[Clip], int]


class ClipBatch(NamedTuple):
    """Clips that go through the network together, in one window."""

    window_seconds: int
    clips: Tuple[Clip, ...]


class Mark(NamedTuple):
    """Where a stream stands between two steps: those taken of a block, and what was read before and up to its end."""

    cursor: Cursor
    taken: int
    before: Tally
    read: Tally


class TrainStep(NamedTuple):
    """The micro-batches of a step, and of a stream the mark after it."""

    micro_batches: Tuple[ClipBatch, ...]
    mark: Mark


_START = Mark(Cursor(), 0, Tally(), Tally())


class TrainSteps(Protocol):
    """Gives the steps of a run in order."""

    def after(self, step: int) -> ContextManager[Iterator[TrainStep]]:
        """Give the steps that follow a step, without end; of a stream, those that follow the newest one taken."""

    def took(self, step: TrainStep) -> None:
        """Take note of a step that was taken; DatasetInvalid where too much of a stream is left out."""

    def state(self) -> Dict[str, Any]:
        """Return what `load_state` takes, as JSON can say it."""

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Become what `state` returned."""


class ListedSteps:
    """Steps of clips that are a list: any of them can be computed, so nothing is to be remembered."""

    def __init__(self, clips: Tuple[Clip, ...], window_of: WindowOf, seed: int, schedule: Schedule) -> None:
        """`clips` of the train split."""
        self._clips = clips
        self._order = batches.StepOrder([window_of(clip) for clip in clips], seed, schedule)

    def first_epoch(self) -> List[List[Clip]]:
        """Return the clips of the first epoch by micro-batches: every clip once."""
        return [list(self._named(batch).clips) for batch in self._order.first_epoch()]

    @contextmanager
    def after(self, step: int) -> Iterator[Iterator[TrainStep]]:
        """Give the steps that follow a step, without end."""
        yield (TrainStep(tuple(map(self._named, self._order.of(number))), _START) for number in count(step + 1))

    def took(self, step: TrainStep) -> None:
        """Nothing is to be noted."""

    def state(self) -> Dict[str, Any]:
        """Return nothing: the number of the step says it all."""
        return {}

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Nothing is to be loaded."""

    def _named(self, batch: batches.MicroBatch) -> ClipBatch:
        return _with_clips(batch, self._clips)


class StreamedSteps:
    """Steps of clips that are a stream: those of a block are a function of (seed, epoch, block)."""

    def __init__(self, stream: TrainStream, window_of: WindowOf, schedule: Schedule) -> None:
        """Begin with the stream's first block."""
        self._stream = stream
        self._window_of = window_of
        self._micro_batch_size = schedule.micro_batch_size
        self._batch_size = schedule.micro_batch_size * schedule.gradient_accumulation_steps
        self._newest = _START

    @contextmanager
    def after(self, step: int) -> Iterator[Iterator[TrainStep]]:  # noqa: ARG002 -- the mark of that step says it
        """Give the steps that follow the newest one taken, without end."""
        with self._stream.blocks(self._newest.cursor, self._batch_size) as blocks:
            yield self._steps(blocks, self._newest)

    def took(self, step: TrainStep) -> None:
        """Go on after this step from now on, and count the block that it is of; DatasetInvalid."""
        if step.mark.read != self._newest.read:
            self._stream.record(step.mark.read)
        self._newest = step.mark

    def state(self) -> Dict[str, Any]:
        """Return the block that the newest step taken is of, the steps taken of it, and what was read before it."""
        mark = self._newest
        values = {"cursor": mark.cursor.values(), "taken": mark.taken, "read": mark.before.values()}
        return {"stream": values}

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Go on where `state` was asked."""
        found = values["stream"]
        before = Tally.of_values(found["read"])
        self._newest = Mark(Cursor.of_values(found["cursor"]), found["taken"], before, before)
        self._stream.record(before)

    def _steps(self, blocks: Iterator[Block], start: Mark) -> Iterator[TrainStep]:
        before, taken = start.before, start.taken
        for block in blocks:
            read = before.plus(block.tally)
            steps = self._order(block)
            for place in range(taken, len(steps)):
                is_last = place + 1 == len(steps)
                done = Mark(block.following, 0, read, read) if is_last else Mark(block.cursor, place + 1, before, read)
                yield TrainStep(tuple(_with_clips(batch, block.clips) for batch in steps[place]), done)
            before, taken = read, 0

    def _order(self, block: Block) -> Tuple[batches.Step, ...]:
        windows = [self._window_of(clip) for clip in block.clips]
        epoch = f"{block.cursor.epoch}/{block.cursor.block}"
        return batches.epoch_steps(windows, self._stream.seed, epoch, self._batch_size, self._micro_batch_size)


def _with_clips(batch: batches.MicroBatch, clips: Tuple[Clip, ...]) -> ClipBatch:
    return ClipBatch(batch.window_seconds, tuple(clips[place] for place in batch.clips))
