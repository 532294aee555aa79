"""The clips of each optimizer step, whether they are a list or a stream, and where a resumed run goes on with them."""

from contextlib import contextmanager
from itertools import count
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Mapping, NamedTuple, Protocol, Tuple

from whisper_finetune_trainer.data import step_order
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.step_order import Mark, StreamSteps
from whisper_finetune_trainer.data.streams.stream_blocks import Block
from whisper_finetune_trainer.data.streams.train_stream import TrainStream
from whisper_finetune_trainer.pytorch import batches
from whisper_finetune_trainer.pytorch.batches import StepSize

#: Window of a clip, in seconds.
WindowOf = Callable[[Clip], int]


class ClipBatch(NamedTuple):
    """Clips that go through the network together, in one window."""

    window_seconds: int
    clips: Tuple[Clip, ...]


class TrainStep(NamedTuple):
    """The micro-batches of a step, and of a stream the mark after it."""

    micro_batches: Tuple[ClipBatch, ...]
    mark: Mark


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

    def __init__(self, clips: Tuple[Clip, ...], window_of: WindowOf, seed: int, size: StepSize) -> None:
        """`clips` of the train split."""
        self._clips = clips
        self._order = batches.StepOrder([window_of(clip) for clip in clips], seed, size)

    def first_epoch(self) -> List[List[Clip]]:
        """Return the clips of the first epoch by micro-batches: every clip once."""
        return [list(self._named(batch).clips) for batch in self._order.first_epoch()]

    @contextmanager
    def after(self, step: int) -> Iterator[Iterator[TrainStep]]:
        """Give the steps that follow a step, without end."""
        yield (
            TrainStep(tuple(map(self._named, self._order.of(number))), step_order.START) for number in count(step + 1)
        )

    def took(self, step: TrainStep) -> None:
        """Nothing is to be noted."""

    def state(self) -> Dict[str, Any]:
        """Return nothing: the number of the step says it all."""
        return {}

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Nothing is to be loaded."""

    def _micro_batches(self, step: int) -> Tuple[ClipBatch, ...]:
        return tuple(map(self._named, self._order.of(step)))

    def _named(self, batch: batches.MicroBatch) -> ClipBatch:
        return _with_clips(batch, self._clips)


class StreamedSteps:
    """Steps of clips that are a stream: those of a block are a function of (seed, epoch, block)."""

    def __init__(self, stream: TrainStream, window_of: WindowOf, size: StepSize) -> None:
        """Begin with the stream's first block."""
        self._seed = stream.seed
        self._window_of = window_of
        self._size = size
        self._steps = StreamSteps(stream, size.batch_size, self._divide)

    @contextmanager
    def after(self, step: int) -> Iterator[Iterator[TrainStep]]:  # noqa: ARG002 -- the mark of that step says it
        """Give the steps that follow the newest one taken, without end."""
        with self._steps.following() as steps:
            yield (TrainStep(batches, mark) for batches, mark in steps)

    def took(self, step: TrainStep) -> None:
        """Go on after this step from now on, and count the block that it is of; DatasetInvalid."""
        self._steps.took(step.mark)

    def state(self) -> Dict[str, Any]:
        """Return where the stream stands after the newest step taken."""
        return self._steps.state()

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Go on where `state` was asked."""
        self._steps.load_state(values)

    def _divide(self, block: Block) -> List[Tuple[ClipBatch, ...]]:
        windows = [self._window_of(clip) for clip in block.clips]
        epoch = f"{block.cursor.epoch}/{block.cursor.block}"
        steps = batches.epoch_steps(windows, self._seed, epoch, *self._size)
        return [tuple(_with_clips(batch, block.clips) for batch in step) for step in steps]


def _with_clips(batch: batches.MicroBatch, clips: Tuple[Clip, ...]) -> ClipBatch:
    return ClipBatch(batch.window_seconds, tuple(clips[place] for place in batch.clips))
