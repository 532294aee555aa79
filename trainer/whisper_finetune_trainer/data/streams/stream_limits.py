"""When a data set is read as a stream, and the bounds of one. Pure."""

from dataclasses import dataclass
from typing import Optional

from whisper_finetune_trainer.data.layouts.layout import ShardReader, SplitFiles

_GIB = 1024**3
_MIB = 1024**2


@dataclass(frozen=True)
class StreamLimits:
    """Bounds of streams. Every run has these, and tests have smaller ones."""

    #: Shards of at most this size together are listed clip by clip; of more, they are a stream.
    listed_bytes: int = 64 * _GIB
    #: Sound files that are shuffled together in memory. There are two such blocks: one is read while one is used.
    block_bytes: int = 256 * _MIB
    #: Shards that are read by turns, so that neighbours in a shard are not neighbours in the order.
    lanes: int = 4
    #: Clips that are looked at before training, at least and at most.
    least_looked_at: int = 2_000
    most_looked_at: int = 20_000
    #: Held-out clips, where maxEvalClips does not say it.
    held_out_clips: int = 1_000


LIMITS = StreamLimits()


def stream_reader(files: SplitFiles, limits: StreamLimits) -> Optional[ShardReader]:
    """Return what reads a split as a stream, None for one that is listed: shards are listed up to a size."""
    return files.layout.shards if files.size_bytes > limits.listed_bytes else None
