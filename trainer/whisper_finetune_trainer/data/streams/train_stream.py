"""The clips to train on as a stream of blocks. A block is a function of seed, epoch, shards and the block's beginning.

Other readers have a shuffle buffer. Here it is a block: as many clips as fit into a bounded memory, which are shuffled
together. A block knows where it begins in the shards. So a run that resumes in the middle of a block reads it again.
"""

import hashlib
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Mapping, Optional, Tuple

from whisper_finetune_trainer.data import clips, source_files
from whisper_finetune_trainer.data.clips import Clip, ClipStatistics, Drop, HeldOutTexts, RefuseClip, duration_in_words
from whisper_finetune_trainer.data.layouts.layout import StreamLimits
from whisper_finetune_trainer.data.streams import stream_blocks, streamed_clips
from whisper_finetune_trainer.data.streams.shard_stream import ShardStream
from whisper_finetune_trainer.data.streams.stream_blocks import Block, Cursor, Filling, TrainingPosition
from whisper_finetune_trainer.data.streams.streamed_clips import ClipChecks
from whisper_finetune_trainer.messages.errors import TrainerError, quoted

logger = logging.getLogger(__name__)


@dataclass
class TrainStream:
    """Gives the blocks of a stream, and keeps the statistics of those that were trained on."""

    shards: ShardStream
    checks: ClipChecks
    limits: StreamLimits
    seed: int
    max_clips: Optional[int]
    max_dropped_fraction: str
    #: A digest of the shards and of how they are read. A position is only valid for a stream of the same digest.
    digest: str
    #: The sampled train clips, without their sounds, and the statistics of the sample.
    sampled: Tuple[Clip, ...] = ()
    sampled_statistics: ClipStatistics = field(default_factory=ClipStatistics)
    read: ClipStatistics = field(default_factory=ClipStatistics)
    #: The held-out texts. Those that are also trained on are noted.
    held_out: HeldOutTexts = field(default_factory=HeldOutTexts)

    @property
    def listed(self) -> Tuple[Clip, ...]:
        """No clips: a clip of a stream comes once per epoch, with its sound."""
        return ()

    @property
    def known(self) -> Tuple[Clip, ...]:
        """The train clips of the sample."""
        return self.sampled

    @property
    def most_clips(self) -> Optional[int]:
        """How many clips an epoch has at most, or None where that is known only at its end."""
        return self.max_clips

    @property
    def statistics(self) -> ClipStatistics:
        """What is known of the shards: the statistics of the sample or of what was read, whichever has more rows."""
        larger = max(self.sampled_statistics, self.read, key=lambda statistics: statistics.rows)
        return replace(larger, clips=min(larger.clips, self.max_clips)) if self.max_clips else larger

    def record(self, read: ClipStatistics) -> None:
        """Note what the training has read so far. Raises DatasetInvalid where too much of it is unusable."""
        clips.refuse_faults(read, self.max_dropped_fraction)
        if read.faults > self.read.faults:
            reasons = ", ".join(f"{reason} {number}" for reason, number in read.dropped.items())
            such_as = "; ".join(read.examples)
            logger.warning("left out of %d clips read so far: %s; such as: %s", read.rows, reasons, such_as)
        self.read = read

    def texts(self) -> FrozenSet[str]:
        """Return the normalized held-out texts that were also texts of train clips so far."""
        return self.read.met_texts

    def size_in_words(self) -> str:
        """Return in words how many clips are known before the training."""
        return f"{self.statistics.clips} clips to train on in the sample"

    def speech_in_words(self) -> str:
        """Return in words what was trained on. It counts the first epoch only, so that each clip counts once."""
        read = self.read
        return (
            f"{read.clips} clips, {duration_in_words(read.seconds)} of speech (none over {read.longest_seconds:.1f} s),"
            " as far as the stream was read"
        )

    def fitted(self, refuse: RefuseClip, held_out: HeldOutTexts) -> "Tuple[TrainStream, List[Drop]]":
        """Return a stream without the clips that `refuse` returns a Drop for. The list of Drops is empty.

        Raises DatasetInvalid where it leaves out more of the sampled clips than `dataset.maxDroppedFraction` allows.
        """
        drops = [drop for drop in map(refuse, self.sampled) if drop is not None]
        clips.log_left_out(drops)
        clips.refuse_too_many(drops, self.sampled_statistics.rows, self.max_dropped_fraction)
        dropped = ClipStatistics(
            dropped=clips.count_drops(drops), faults=len(drops), examples=clips.examples_of_drops(drops)
        )
        statistics = replace(self.sampled_statistics.plus(dropped), clips=self.sampled_statistics.clips - len(drops))
        return replace(
            self, checks=replace(self.checks, refuse=refuse), sampled_statistics=statistics, held_out=held_out
        ), []

    def packed(self) -> "TrainStream":
        """Return the stream as it is: only a state knows a position in it."""
        return self

    def refuse_empty(self) -> None:
        """Do nothing: that is known only at the end of an epoch."""

    def find_position(self, step: int, steps_of: Callable[[Block], int]) -> Optional[TrainingPosition]:  # noqa: ARG002 -- see TrainClips
        """Return None: only a state knows how far the shards were read."""
        return None

    def values_of(self, position: TrainingPosition) -> Dict[str, Any]:
        """Return JSON values: where the block begins, how many of its steps were taken, what was read before it."""
        values = {
            "cursor": position.cursor.values(),
            "taken": position.steps_taken,
            "read": position.before.values(),
        }
        return {"stream": values}

    def position_of(self, values: Mapping[str, Any]) -> TrainingPosition:
        """Return the position that `values_of` was given."""
        found = values["stream"]
        before = ClipStatistics.of_values(found["read"])
        return TrainingPosition(Cursor.of_values(found["cursor"]), found["taken"], before, before)

    @contextmanager
    def blocks(
        self, start: Cursor, clips_per_step: int, check_stop: Callable[[], None] = lambda: None
    ) -> "Iterator[Iterator[Block]]":
        """Give the blocks from a cursor on, epoch after epoch. Each is read while the one before it is used.

        Every block has a multiple of `clips_per_step` clips, except the last of an epoch. Raises DatasetInvalid if an
        epoch has no clip.
        """
        is_over = threading.Event()
        blocks = self._all_blocks(start, clips_per_step, is_over)
        with source_files.reader_pool(1) as reader:
            try:
                yield _read_ahead(blocks, reader, check_stop)
            finally:
                is_over.set()

    def _all_blocks(self, cursor: Cursor, batch_size: int, is_over: threading.Event) -> Iterator[Block]:
        while not is_over.is_set():
            logger.info("epoch %d is read from %d shards", cursor.epoch + 1, len(self.shards.files.paths))
            for block in self._epoch(cursor, batch_size, is_over):
                yield block
                cursor = block.following

    def _epoch(self, cursor: Cursor, batch_size: int, is_over: threading.Event) -> Iterator[Block]:
        # With maxTrainClips, each epoch must have the same clips, and so the same order.
        key = f"{self.seed}/{0 if self.max_clips else cursor.epoch}"
        filling = Filling(cursor)
        for streamed in streamed_clips.check_clips(self.shards, key, cursor.position, self.checks.of_row):
            if is_over.is_set():
                return
            filling.add(streamed)
            if self.max_clips and filling.clips_of_epoch >= self.max_clips:
                break
            if filling.bytes >= self.limits.block_bytes and len(filling.clips) % batch_size == 0:
                yield filling.block(self._statistics_of(filling), self.seed)
                filling = Filling(filling.following())
        if not filling.clips_of_epoch:
            raise TrainerError("DatasetInvalid", f"no clip is left in the train split {quoted(self.shards.files.name)}")
        yield replace(filling.block(self._statistics_of(filling), self.seed), following=Cursor(epoch=cursor.epoch + 1))

    def _statistics_of(self, filling: Filling) -> ClipStatistics:
        if filling.cursor.epoch > 0:
            return ClipStatistics()
        met = self.held_out.met_in(filling.clips)
        return replace(stream_blocks.statistics_of(filling.clips, filling.drops), met_texts=met)


def _read_ahead(blocks: Iterator[Block], reader: ThreadPoolExecutor, check_stop: Callable[[], None]) -> Iterator[Block]:
    following = reader.submit(next, blocks)
    while True:
        block = source_files.wait_for_result(following, check_stop)
        following = reader.submit(next, blocks)
        yield block


def digest_of_shards(shards: ShardStream, limits: StreamLimits, validation_fraction: float = 0.0) -> str:
    """Return the sha256, in hex, of everything that the order of a stream depends on besides seed and epoch."""
    folder, paths = shards.files.folder, shards.files.paths
    read: List[float] = [limits.block_bytes, limits.lanes, stream_blocks.BYTES_OF_A_CLIP]
    read += [validation_fraction] if validation_fraction else []
    rendered = json.dumps([read, [[path, folder.size_bytes(path)] for path in paths]], ensure_ascii=False)
    return hashlib.sha256(rendered.encode()).hexdigest()
