"""The clips of a training, whether they are a list or a stream: as backends and the report know them."""

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    Optional,
    Protocol,
    Tuple,
)

from whisper_finetune_trainer.data import clip_statistics, clips
from whisper_finetune_trainer.data.clip_statistics import ClipStatistics
from whisper_finetune_trainer.data.clips import Clip, Drop, HeldOutTexts, RefuseClip
from whisper_finetune_trainer.data.streams.stream_blocks import START, Block, Cursor, TrainingPosition


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
        return clip_statistics.speech_in_words([clip.seconds for clip in self.listed])

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
