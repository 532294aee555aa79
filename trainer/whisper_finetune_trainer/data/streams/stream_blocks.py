"""A block of a stream: clips that are shuffled together, and the position in the shards where they begin."""

from dataclasses import dataclass, field
from typing import Any, List, Mapping, NamedTuple, Tuple

from whisper_finetune_trainer.data import clips
from whisper_finetune_trainer.data.audio.audio_sources import InMemory
from whisper_finetune_trainer.data.clips import Clip, ClipStatistics, Drop
from whisper_finetune_trainer.data.streams.shard_stream import Position
from whisper_finetune_trainer.data.streams.streamed_clips import StreamedClip

#: How much memory a clip takes besides its sound.
BYTES_OF_A_CLIP = 1_000


@dataclass(frozen=True)
class Cursor:
    """Where a block begins: its epoch, its number in the epoch, the clips of the epoch before it, and the position."""

    epoch: int = 0
    block: int = 0
    clips: int = 0
    position: Position = field(default_factory=Position)

    def values(self) -> Mapping[str, Any]:
        """Return JSON values for `of_values`."""
        return {"epoch": self.epoch, "block": self.block, "clips": self.clips, **self.position.values()}

    @staticmethod
    def of_values(values: Mapping[str, Any]) -> "Cursor":
        """Return the cursor that `values` returned these for."""
        return Cursor(values["epoch"], values["block"], values["clips"], Position.of_values(values))


@dataclass(frozen=True)
class Block:
    """Clips that are shuffled together, in the order in which they were read. A list's epoch is one block.

    The statistics are empty after the first epoch, because each clip is counted once.
    """

    cursor: Cursor
    clips: Tuple[Clip, ...]
    statistics: ClipStatistics
    #: Where the next block begins.
    following: Cursor
    #: The seed of the shuffling. It is a function of the training's seed, the epoch and the block's number.
    shuffle_key: str

    @property
    def is_last_of_epoch(self) -> bool:
        """Whether the next block is of another epoch."""
        return self.following.epoch != self.cursor.epoch


class TrainingPosition(NamedTuple):
    """Where a training is between two steps: a block, and how many of its steps were taken.

    `before` has the statistics of what was read before the block, and `read` also those of the block.
    """

    cursor: Cursor
    steps_taken: int
    before: ClipStatistics
    read: ClipStatistics


#: The position of a training that has taken no step.
START = TrainingPosition(Cursor(), 0, ClipStatistics(), ClipStatistics())


class Filling:
    """A block that is being read."""

    def __init__(self, cursor: Cursor) -> None:
        """`cursor` is where the block begins."""
        self.cursor = cursor
        self.clips: List[Clip] = []
        self.drops: List[Drop] = []
        self.bytes = 0
        self._after = cursor.position

    @property
    def clips_of_epoch(self) -> int:
        """How many clips the epoch has had so far."""
        return self.cursor.clips + len(self.clips)

    def add(self, streamed: StreamedClip) -> None:
        """Add the next row: its clip, or its Drop. A held-out clip is only passed."""
        found, self._after = streamed.checked.found, streamed.after
        if isinstance(found, Clip):
            self.clips.append(found)
            self.bytes += BYTES_OF_A_CLIP + (len(found.audio.content) if isinstance(found.audio, InMemory) else 0)
        elif isinstance(found, Drop):
            self.drops.append(found)

    def following(self) -> Cursor:
        """Return where the next block begins."""
        return Cursor(self.cursor.epoch, self.cursor.block + 1, self.clips_of_epoch, self._after)

    def block(self, statistics: ClipStatistics, seed: int) -> Block:
        """Return the block as far as it was read. `seed` is the training's."""
        key = f"{seed}/{self.cursor.epoch}/{self.cursor.block}"
        return Block(self.cursor, tuple(self.clips), statistics, self.following(), key)


def statistics_of(found: List[Clip], drops: List[Drop]) -> ClipStatistics:
    """Return the statistics of clips, and of the Drops of clips that were left out."""
    faults = [drop for drop in drops if not drop.is_expected]
    seconds = [clip.seconds for clip in found]
    return ClipStatistics(
        clips=len(found),
        seconds=sum(seconds),
        longest_seconds=max(seconds, default=0.0),
        dropped=clips.count_drops(drops),
        faults=len(faults),
        examples=clips.examples_of_drops(faults),
    )
