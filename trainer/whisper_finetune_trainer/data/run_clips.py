"""The clips of a run, held out or to train on, and the order in which a training takes them.

Train clips are a list or a stream. Backends and the report use only the protocol here, and do not know which.
"""

from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from whisper_finetune_trainer.data.passages import PackedEpoch
from whisper_finetune_trainer.data.streams.stream_blocks import START, Block, Cursor, TrainingPosition

Split = Literal["Given", "Fraction", "Hash"]
Step = TypeVar("Step")


class TrainClips(Protocol):
    """The clips to train on, given epoch by epoch in blocks. For a stream, less is known before it is read."""

    @property
    def digest(self) -> str:
        """The digest of the clips. A training state belongs to the clips of one digest."""

    @property
    def listed(self) -> Tuple[Clip, ...]:
        """The clips that can be read again at any time. A stream has none."""

    @property
    def known(self) -> Tuple[Clip, ...]:
        """The clips that are known before the training: all of a list, and those of a stream's sample."""

    @property
    def most_clips(self) -> Optional[int]:
        """How many clips an epoch has at most, or None where that is known only at its end."""

    @property
    def max_dropped_fraction(self) -> str:
        """Which fraction of the clips may turn out to be unusable: `dataset.maxDroppedFraction`."""

    @property
    def statistics(self) -> ClipStatistics:
        """The statistics of the clips. For a stream they are those of what was read so far."""

    def texts(self) -> FrozenSet[str]:
        """Return texts that are trained on.

        A list returns all of them. A stream returns, normalized, the held-out texts that it met so far.
        """

    def size_in_words(self) -> str:
        """Return in words how many clips are known before the training."""

    def speech_in_words(self) -> str:
        """Return in words how many clips there are to train on and how long they are. For a stream, what was read."""

    def fitted(self, refuse: RefuseClip, held_out: HeldOutTexts) -> "Tuple[TrainClips, List[Drop]]":
        """Return the clips without those that `refuse` returns a Drop for, and these Drops. Raises DatasetInvalid."""

    def packed(self) -> "TrainClips":
        """Return the clips for a training that packs them."""

    def refuse_empty(self) -> None:
        """Raise DatasetInvalid if it is known that no clip is left."""

    def blocks(
        self, start: Cursor, clips_per_step: int, check_stop: Callable[[], None]
    ) -> ContextManager[Iterator[Block]]:
        """Give the blocks from a cursor on, epoch after epoch without end. Nothing is read once the context is left.

        `check_stop` is called while a block is waited for, and raises where the training is to end. Raises
        DatasetInvalid, and what a store raises.
        """

    def find_position(self, step: int, steps_of: Callable[[Block], int]) -> Optional[TrainingPosition]:
        """Return the position after a step, or None where only a state knows it: for a stream, and for packed clips.

        `steps_of` returns how many steps a block is divided into.
        """

    def record(self, read: ClipStatistics) -> None:
        """Note what the training has read so far. Raises DatasetInvalid where too much of it is unusable."""

    def values_of(self, position: TrainingPosition) -> Dict[str, Any]:
        """Return JSON values for `position_of`."""

    def position_of(self, values: Mapping[str, Any]) -> TrainingPosition:
        """Return the position that `values_of` was given."""


@dataclass(frozen=True)
class ListedClips:
    """Train clips as a list. Each epoch is one block, and its order is a function of seed and epoch."""

    listed: Tuple[Clip, ...]
    #: The training's seed.
    seed: int
    max_dropped_fraction: str
    #: Whether its clips are packed. Its epochs then have different numbers of steps.
    is_packed: bool = False

    @property
    def digest(self) -> str:
        """The sha256 of the clips' identifiers and texts, in their order."""
        return clips.digest_of_clips(self.listed)

    @property
    def known(self) -> Tuple[Clip, ...]:
        """All clips."""
        return self.listed

    @property
    def most_clips(self) -> int:
        """How many clips there are."""
        return len(self.listed)

    @property
    def statistics(self) -> ClipStatistics:
        """How many clips there are, and how long they are. Clips that were left out are not in it."""
        seconds = [clip.seconds for clip in self.listed]
        return ClipStatistics(len(seconds), sum(seconds), max(seconds, default=0.0))

    def texts(self) -> FrozenSet[str]:
        """Return the texts of all clips."""
        return frozenset(clip.text for clip in self.listed)

    def size_in_words(self) -> str:
        """Return in words how many clips there are."""
        return f"{len(self.listed)} clips to train on"

    def speech_in_words(self) -> str:
        """Return in words how many clips there are, and how long they are."""
        return clips.speech_in_words([clip.seconds for clip in self.listed])

    def fitted(self, refuse: RefuseClip, held_out: HeldOutTexts) -> "Tuple[ListedClips, List[Drop]]":  # noqa: ARG002 -- `texts` has all
        """Return the clips without those that `refuse` returns a Drop for, and these Drops."""
        drops = [refuse(clip) for clip in self.listed]
        kept = tuple(clip for clip, drop in zip(self.listed, drops) if drop is None)
        left_out = [drop for drop in drops if drop is not None]
        return replace(self, listed=kept), left_out

    def packed(self) -> "ListedClips":
        """Return the clips for a training that packs them."""
        return replace(self, is_packed=True)

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
        """Give one block for each epoch, from the cursor's epoch on, without end."""
        yield map(self._block, count(start.epoch))

    def find_position(self, step: int, steps_of: Callable[[Block], int]) -> Optional[TrainingPosition]:
        """Return the position after a step. Every epoch has the same number of steps, unless clips are packed."""
        if self.is_packed:
            return None
        epoch, taken = divmod(step, steps_of(self._block(0)))
        return START._replace(cursor=Cursor(epoch), steps_taken=taken)

    def record(self, read: ClipStatistics) -> None:
        """Do nothing: all clips are known from the start."""

    def values_of(self, position: TrainingPosition) -> Dict[str, Any]:
        """Return JSON values of a position of packed clips, else nothing: it follows from the number of the step."""
        return {"packed": {"epoch": position.cursor.epoch, "taken": position.steps_taken}} if self.is_packed else {}

    def position_of(self, values: Mapping[str, Any]) -> TrainingPosition:
        """Return the position of packed clips, else the start: `find_position` returns the real position."""
        if not self.is_packed:
            return START
        return START._replace(cursor=Cursor(values["packed"]["epoch"]), steps_taken=values["packed"]["taken"])

    def _block(self, epoch: int) -> Block:
        return Block(Cursor(epoch), self.listed, ClipStatistics(), Cursor(epoch + 1), f"{self.seed}/{epoch}")


@dataclass(frozen=True)
class Clips:
    """The clips of a run: those to train on and the held-out ones. Neither is empty.

    The `validation` clips, by which the best model is chosen, are empty where nothing is chosen.

    `dropped` and `examples` are those of the clips that were left out before the training.
    """

    train: TrainClips
    evaluation: Tuple[Clip, ...]
    dropped: Mapping[str, int]
    examples: Tuple[str, ...]
    split: Split
    validation: Tuple[Clip, ...] = ()
    #: What is odd about the data, in words. Nothing was left out because of it.
    warnings: Tuple[str, ...] = ()
    #: How many bytes of the scratch folder the extracted sounds take.
    scratch_bytes: int = 0
    #: What the clips of an epoch are packed into, of a stream those of its sample. None: each is trained on alone.
    packed: Optional[PackedEpoch] = None

    def all_dropped(self) -> Mapping[str, int]:
        """Return how many clips were left out by reason. For a stream, that is so far."""
        return ClipStatistics(dropped=self.dropped).plus(self.train.statistics).dropped

    def all_examples(self) -> Tuple[str, ...]:
        """Return examples of clips that were left out, in words. For a stream, that is so far."""
        return (*self.examples, *self.train.statistics.examples)

    def summary(self) -> DataSummary:
        """Return the counts that the status shows. For a stream, they are those of what was read so far."""
        return DataSummary(
            train_clips=self.train.statistics.clips,
            eval_clips=len(self.evaluation),
            dropped_clips=sum(self.all_dropped().values()),
            split=self.split,
            validation_clips=len(self.validation) or None,
            train_windows=self.packed.passages if self.packed and self.train.listed else None,
        )

    def packing_in_words(self) -> str:
        """Return what packing changes, and nothing where clips are trained on alone."""
        if self.packed is None:
            return ""
        return f"{'' if self.train.listed else 'of the sample, '}{self.packed.in_words()}"


class StepOrder(Generic[Step]):
    """Divides the blocks of the train clips into a backend's steps, and knows the newest step that was taken."""

    def __init__(
        self,
        clips: TrainClips,
        clips_per_step: int,
        divide: Callable[[Block], Sequence[Step]],
        check_stop: Callable[[], None] = lambda: None,
        on_read: Callable[[], None] = lambda: None,
    ) -> None:
        """`divide` is a function of the block alone. A resumed run divides the block again and skips the steps taken.

        `check_stop` is called while clips are waited for, and raises where the training is to end. `on_read` is called
        when more of a stream has been read.
        """
        self._clips = clips
        self._clips_per_step = clips_per_step
        self._divide = divide
        self._check_stop = check_stop
        self._on_read = on_read
        self._newest = START

    @contextmanager
    def after(self, step: int) -> Iterator[Iterator[Tuple[Step, TrainingPosition]]]:
        """Give the steps after `step`, the newest one taken, without end, each with the position after it.

        They may be asked for ahead of the training. Nothing is read once the context is left. Raises DatasetInvalid,
        and what a store raises.
        """
        self._newest = self._clips.find_position(step, lambda block: len(self._divide(block))) or self._newest
        with self._clips.blocks(self._newest.cursor, self._clips_per_step, self._check_stop) as blocks:
            yield self._steps(blocks, self._newest)

    def took(self, position: TrainingPosition) -> None:
        """Note the position after the newest step, and record what was read up to there. Raises DatasetInvalid."""
        if position.read != self._newest.read:
            self._record(position)
        self._newest = position

    def state(self) -> Dict[str, Any]:
        """Return JSON values for `load_state`. For a list they are mostly empty: the step's number says everything."""
        return self._clips.values_of(self._newest)

    def load_state(self, values: Mapping[str, Any]) -> None:
        """Go on after the step that was the newest when `state` returned these values. Raises DatasetInvalid."""
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
    """Return the position after a step of a block. Steps count from 1. After the last one the next block begins."""
    if number == steps:
        return TrainingPosition(block.following, 0, read, read)
    return TrainingPosition(block.cursor, number, before, read)
