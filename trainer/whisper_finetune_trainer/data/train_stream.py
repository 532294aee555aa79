"""The clips to train on as a stream: blocks of shuffled clips, each a function of (seed, epoch, shards) and its place.

A block is what the shuffle buffer of other readers is: as many clips as its bounded memory holds, in an order of their
own. It knows where in the shards it begins, so a run that goes on in the middle of a block reads that block again.
"""

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Callable, FrozenSet, Iterator, List, Mapping, Optional, Tuple

from whisper_finetune_trainer.data import clips, streamed_clips
from whisper_finetune_trainer.data.audio_places import Held
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.shard_stream import Position, ShardStream
from whisper_finetune_trainer.data.streamed_clips import ClipChecks, StreamedClip
from whisper_finetune_trainer.data.streaming import StreamLimits
from whisper_finetune_trainer.data.tally import Tally
from whisper_finetune_trainer.errors import TrainerError

#: What a clip takes in memory beside its sound.
_BYTES_OF_A_CLIP = 1_000


@dataclass(frozen=True)
class Cursor:
    """Where a block begins: its epoch, its number in there, the clips of the epoch before it, and the position."""

    epoch: int = 0
    block: int = 0
    clips: int = 0
    position: Position = field(default_factory=Position)

    def values(self) -> Mapping[str, Any]:
        """Return what `of_values` takes, as JSON can say it."""
        return {"epoch": self.epoch, "block": self.block, "clips": self.clips, **self.position.values()}

    @staticmethod
    def of_values(values: Mapping[str, Any]) -> "Cursor":
        """Return the cursor of such values."""
        return Cursor(values["epoch"], values["block"], values["clips"], Position.of_values(values))


@dataclass(frozen=True)
class Block:
    """Clips with their sounds, in the order that they were read in, and the cursor of the block that follows.

    The tally is empty after the first epoch: what was counted once is not counted again.
    """

    cursor: Cursor
    clips: Tuple[Clip, ...]
    tally: Tally
    following: Cursor


@dataclass
class TrainStream:
    """Gives the blocks, and keeps what was found in those that were trained on."""

    shards: ShardStream
    checks: ClipChecks
    limits: StreamLimits
    seed: int
    max_clips: Optional[int]
    max_dropped_fraction: str
    #: Names the shards and how they are read: a position means nothing to a stream of another digest.
    digest: str
    #: Train clips, without their sounds, and what was left out, of those looked at before training.
    looked_at: Tuple[Clip, ...] = ()
    look: Tally = field(default_factory=Tally)
    read: Tally = field(default_factory=Tally)
    #: Called when more was read.
    on_read: Callable[[], None] = field(default=lambda: None)
    #: Held-out texts, normalized, and the normalizer: which of them are trained on too is counted.
    held_out_texts: FrozenSet[str] = frozenset()
    normalize: Callable[[str], str] = str

    @property
    def tally(self) -> Tally:
        """Return what is known of the shards: of the first epoch as far as it was read, at first of those looked at."""
        larger = max(self.look, self.read, key=lambda tally: tally.rows)
        return replace(larger, clips=min(larger.clips, self.max_clips)) if self.max_clips else larger

    def record(self, read: Tally) -> None:
        """Take over what the training has read so far; DatasetInvalid where too much of it cannot be used."""
        clips.refuse_faults(read, self.max_dropped_fraction)
        self.read = read
        self.on_read()

    @contextmanager
    def blocks(self, start: Cursor, batch_size: int) -> "Iterator[Iterator[Block]]":
        """Give the blocks from a cursor on, epoch after epoch, each read while the one before it is used.

        Each has a multiple of `batch_size` clips but the last of an epoch. DatasetInvalid where an epoch has none.
        """
        is_over = threading.Event()
        blocks = self._all_blocks(start, batch_size, is_over)
        reader = ThreadPoolExecutor(1)
        try:
            yield _read_ahead(blocks, reader)
        finally:
            # Not waited for: a store may be slow to answer, and the state of a stopped run is to be saved.
            is_over.set()
            reader.shutdown(wait=False)

    def _all_blocks(self, cursor: Cursor, batch_size: int, is_over: threading.Event) -> Iterator[Block]:
        while not is_over.is_set():
            for block in self._epoch(cursor, batch_size, is_over):
                yield block
                cursor = block.following

    def _epoch(self, cursor: Cursor, batch_size: int, is_over: threading.Event) -> Iterator[Block]:
        # The same clips in each epoch where maxTrainClips wants a part of them.
        key = f"{self.seed}/{0 if self.max_clips else cursor.epoch}"
        filling = _Filling(cursor)
        for streamed in streamed_clips.clips(self.shards, key, cursor.position, self.checks.of_row):
            if is_over.is_set():
                return
            filling.add(streamed)
            if self.max_clips and filling.clips_of_epoch >= self.max_clips:
                break
            if filling.bytes >= self.limits.block_bytes and len(filling.clips) % batch_size == 0:
                yield filling.block(self._tally(filling))
                filling = _Filling(filling.following())
        if not filling.clips_of_epoch:
            raise TrainerError("DatasetInvalid", f"no clip is left in the train split {self.shards.files.name}")
        yield replace(filling.block(self._tally(filling)), following=Cursor(epoch=cursor.epoch + 1))

    def _tally(self, filling: "_Filling") -> Tally:
        if filling.cursor.epoch > 0:
            return Tally()
        met = self.held_out_texts.intersection(self.normalize(clip.text) for clip in filling.clips)
        return replace(tally_of(filling.clips, filling.drops), met_texts=frozenset(met))


class _Filling:
    """A block that is being read."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.clips: List[Clip] = []
        self.drops: List[Drop] = []
        self.bytes = 0
        self._after = cursor.position

    @property
    def clips_of_epoch(self) -> int:
        return self.cursor.clips + len(self.clips)

    def add(self, streamed: StreamedClip) -> None:
        found, self._after = streamed.checked.found, streamed.after
        if isinstance(found, Clip):
            self.clips.append(found)
            self.bytes += _BYTES_OF_A_CLIP + (len(found.audio.content) if isinstance(found.audio, Held) else 0)
        elif isinstance(found, Drop):
            self.drops.append(found)

    def following(self) -> Cursor:
        return Cursor(self.cursor.epoch, self.cursor.block + 1, self.clips_of_epoch, self._after)

    def block(self, tally: Tally) -> Block:
        return Block(self.cursor, tuple(self.clips), tally, self.following())


def _read_ahead(blocks: Iterator[Block], reader: ThreadPoolExecutor) -> Iterator[Block]:
    following = reader.submit(next, blocks)
    while True:
        block = following.result()
        following = reader.submit(next, blocks)
        yield block


def tally_of(found: List[Clip], drops: List[Drop]) -> Tally:
    """Return the tally of clips and of those left out."""
    faults = [drop for drop in drops if not drop.is_expected]
    seconds = [clip.seconds for clip in found]
    return Tally(
        clips=len(found),
        seconds=sum(seconds),
        longest_seconds=max(seconds, default=0.0),
        dropped=clips.count(drops),
        faults=len(faults),
        examples=clips.first_examples(faults),
    )


def digest_of(shards: ShardStream, limits: StreamLimits) -> str:
    """Return the sha256 of what the order of a stream depends on beside seed and epoch."""
    folder, paths = shards.files.folder, shards.files.paths
    read = [limits.block_bytes, limits.lanes, _BYTES_OF_A_CLIP]
    rendered = json.dumps([read, [[path, folder.size_bytes(path)] for path in paths]], ensure_ascii=False)
    return hashlib.sha256(rendered.encode()).hexdigest()
