"""The steps of a stream, and where it stands between two of them: what a backend saves to go on at the very clip."""

from contextlib import contextmanager
from typing import Any, Callable, Dict, Generic, Iterator, Mapping, NamedTuple, Sequence, Tuple, TypeVar

from whisper_finetune_trainer.data.clip_statistics import Tally
from whisper_finetune_trainer.data.streams.stream_blocks import Block, Cursor
from whisper_finetune_trainer.data.streams.train_stream import TrainStream

Step = TypeVar("Step")


class Mark(NamedTuple):
    """Where a stream stands between two steps: those taken of a block, and what was read before and up to its end."""

    cursor: Cursor
    taken: int
    before: Tally
    read: Tally


START = Mark(Cursor(), 0, Tally(), Tally())


class StreamSteps(Generic[Step]):
    """Parts the blocks of a stream into a backend's steps, and keeps the mark of the newest one that was taken."""

    def __init__(self, stream: TrainStream, clips_per_step: int, divide: Callable[[Block], Sequence[Step]]) -> None:
        """`divide` is a function of (seed, block): a resumed run reads the block again and leaves out steps taken."""
        self._stream = stream
        self._clips_per_step = clips_per_step
        self._divide = divide
        self._newest = START

    @contextmanager
    def following(self) -> Iterator[Iterator[Tuple[Step, Mark]]]:
        """Give the steps that follow the newest one taken, without end, each with the mark after it; TrainerError.

        They may be asked for ahead of the training. Nothing is read once the context is left.
        """
        with self._stream.blocks(self._newest.cursor, self._clips_per_step) as blocks:
            yield self._marked(blocks, self._newest)

    def took(self, mark: Mark) -> None:
        """Go on after the step of this mark from now on, and count the block that it is of; DatasetInvalid."""
        if mark.read != self._newest.read:
            self._stream.record(mark.read)
        self._newest = mark

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

    def _marked(self, blocks: Iterator[Block], start: Mark) -> Iterator[Tuple[Step, Mark]]:
        before, taken = start.before, start.taken
        for block in blocks:
            read = before.plus(block.tally)
            steps = self._divide(block)
            for place in range(taken, len(steps)):
                is_last = place + 1 == len(steps)
                done = Mark(block.following, 0, read, read) if is_last else Mark(block.cursor, place + 1, before, read)
                yield steps[place], done
            before, taken = read, 0
