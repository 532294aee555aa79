"""The clips of a run, held out or to train on as a list or a stream, and the order in which a training takes them.

Backends and the report know them by what stands here, whether they are a list or a stream.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    FrozenSet,
    Generic,
    Iterator,
    List,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypeVar,
)

from typing_extensions import Literal

from whisper_finetune_api.v1alpha1.status import DataSummary
from whisper_finetune_trainer.data import clips
from whisper_finetune_trainer.data.clips import Clip, ClipStatistics, Drop, HeldOutTexts, RefuseClip
from whisper_finetune_trainer.data.streams.stream_blocks import START, Block, Cursor, TrainingPosition

Split = Literal["Given", "Fraction", "Hash"]
Step = TypeVar("Step")


class TrainClips(Protocol):
    """Gives the clips of an epoch by blocks, and knows what they are, as far as that is known before they are read."""

    @property
    def digest(self) -> str:
        """Return what the clips are known by: a state belongs to them, and is of no use for any others."""

    @property
    def listed(self) -> Tuple[Clip, ...]:
        """Return the clips that can be read again at any time; none of a stream."""

    @property
    def most_clips(self) -> Optional[int]:
        """Return how many clips an epoch has at most; None where only its end tells."""

    @property
    def max_dropped_fraction(self) -> str:
        """Return how many may turn out to be of no use, by `dataset.maxDroppedFraction`."""

    @property
    def statistics(self) -> ClipStatistics:
        """Return what is known of the clips; of a stream, as far as it was read."""

    def texts(self) -> FrozenSet[str]:
        """Return the texts to train on; of a stream, as far as it was read, those held out too, normalized."""

    def size_in_words(self) -> str:
        """Return how many clips are known before the training."""

    def speech_in_words(self) -> str:
        """Return how many clips there are to train on, and how long they are; of a stream, what was trained on."""

    def fitted(self, refuse: RefuseClip, held_out: HeldOutTexts) -> "Tuple[TrainClips, List[Drop]]":
        """Return the clips without those that `refuse` names, and why these are left out; DatasetInvalid."""

    def refuse_empty(self) -> None:
        """Raise DatasetInvalid where it is known that no clip is left."""

    def blocks(
        self, start: Cursor, clips_per_step: int, check_stop: Callable[[], None]
    ) -> ContextManager[Iterator[Block]]:
        """Give the blocks from a cursor on, epoch after epoch, without end; nothing is read once the context is left.

        `check_stop` raises where the training is to end, while a block is waited for. DatasetInvalid, and what a store
        raises.
        """

    def find_position(self, step: int, steps_of: Callable[[Block], int]) -> Optional[TrainingPosition]:
        """Return the position after a step where it follows from the step's number; None where only a state knows it.

        `steps_of` tells how many steps a block is parted into.
        """

    def record(self, read: ClipStatistics) -> None:
        """Take over what the training has read so far; DatasetInvalid where too much of it cannot be used."""

    def values_of(self, position: TrainingPosition) -> Dict[str, Any]:
        """Return what `position_of` takes, as JSON can say it."""

    def position_of(self, values: Mapping[str, Any]) -> TrainingPosition:
        """Return the position that `values_of` was asked for."""


@dataclass(frozen=True)
class ListedClips:
    """Clips that are a list: each epoch is one block, and any of them can be computed."""

    listed: Tuple[Clip, ...]
    #: Of the training: seed and epoch decide the order.
    seed: int
    max_dropped_fraction: str

    @property
    def digest(self) -> str:
        """Return the sha256 of the clips' names and texts, in their order."""
        return clips.digest_of_clips(self.listed)

    @property
    def most_clips(self) -> int:
        """Return how many clips there are."""
        return len(self.listed)

    @property
    def statistics(self) -> ClipStatistics:
        """Return how many clips there are, and how long they are; what was left out is not known here."""
        seconds = [clip.seconds for clip in self.listed]
        return ClipStatistics(len(seconds), sum(seconds), max(seconds, default=0.0))

    def texts(self) -> FrozenSet[str]:
        """Return the texts to train on."""
        return frozenset(clip.text for clip in self.listed)

    def size_in_words(self) -> str:
        """Return how many clips there are."""
        return f"{len(self.listed)} clips to train on"

    def speech_in_words(self) -> str:
        """Return how many clips there are, and how long they are."""
        return clips.speech_in_words([clip.seconds for clip in self.listed])

    def fitted(self, refuse: RefuseClip, held_out: HeldOutTexts) -> "Tuple[ListedClips, List[Drop]]":  # noqa: ARG002 -- `texts` has all
        """Return the clips without those that `refuse` names, and why these are left out."""
        drops = [refuse(clip) for clip in self.listed]
        kept = tuple(clip for clip, drop in zip(self.listed, drops) if drop is None)
        left_out = [drop for drop in drops if drop is not None]
        return ListedClips(kept, self.seed, self.max_dropped_fraction), left_out

    def refuse_empty(self) -> None:
        """Raise DatasetInvalid where no clip is left."""
        clips.require_clips(self.listed, "train")

    @contextmanager
    def blocks(
        self,
        start: Cursor,
        clips_per_step: int,  # noqa: ARG002 -- an epoch is one block
        check_stop: Callable[[], None],  # noqa: ARG002 -- nothing is waited for
    ) -> Iterator[Iterator[Block]]:
        """Give the blocks from an epoch on, without end."""
        yield map(self._block, count(start.epoch))

    def find_position(self, step: int, steps_of: Callable[[Block], int]) -> TrainingPosition:
        """Return the position after a step: every epoch has as many."""
        epoch, taken = divmod(step, steps_of(self._block(0)))
        return START._replace(cursor=Cursor(epoch), steps_taken=taken)

    def record(self, read: ClipStatistics) -> None:
        """Do nothing: all clips are known."""

    def values_of(self, position: TrainingPosition) -> Dict[str, Any]:  # noqa: ARG002 -- see TrainClips
        """Return nothing: the number of the step says it all."""
        return {}

    def position_of(self, values: Mapping[str, Any]) -> TrainingPosition:  # noqa: ARG002 -- see TrainClips
        """Return the start: `find_position` knows the position."""
        return START

    def _block(self, epoch: int) -> Block:
        return Block(Cursor(epoch), self.listed, ClipStatistics(), Cursor(epoch + 1), f"{self.seed}/{epoch}")


@dataclass(frozen=True)
class Clips:
    """The clips to train on and those held out; neither is empty."""

    train: TrainClips
    evaluation: Tuple[Clip, ...]
    dropped: Mapping[str, int]
    examples: Tuple[str, ...]
    split: Split
    #: What is odd about the data, in words; nothing was left out for it.
    warnings: Tuple[str, ...] = ()
    #: What reading them took of the scratch folder.
    scratch_bytes: int = 0

    def all_dropped(self) -> Mapping[str, int]:
        """Return how many were left out by reason; of a stream, as far as it was read."""
        return ClipStatistics(dropped=self.dropped).plus(self.train.statistics).dropped

    def all_examples(self) -> Tuple[str, ...]:
        """Return the first that were left out, in words; of a stream, as far as it was read."""
        return (*self.examples, *self.train.statistics.examples)

    def summary(self) -> DataSummary:
        """Return what the status shows; of a stream, as far as it was read."""
        return DataSummary(
            train_clips=self.train.statistics.clips,
            eval_clips=len(self.evaluation),
            dropped_clips=sum(self.all_dropped().values()),
            split=self.split,
        )


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
