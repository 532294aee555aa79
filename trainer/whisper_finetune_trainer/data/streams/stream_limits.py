"""When a data set is read as a stream, and the bounds of one. Pure."""

from dataclasses import dataclass

from whisper_finetune_trainer.data.layouts.split_files import SplitFiles

_GIB = 1024**3
_MIB = 1024**2


@dataclass(frozen=True)
class StreamLimits:
    """Bounds of streams; every run has these, and tests have smaller ones."""

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


def is_streamed(files: SplitFiles, limits: StreamLimits) -> bool:
    """Return whether a split is read as a stream: shards that are too large together to be listed."""
    return files.format in {"tar", "parquet"} and total_bytes(files) > limits.listed_bytes


def total_bytes(files: SplitFiles) -> int:
    """Return the size of a split's files."""
    return sum(files.folder.size_bytes(path) for path in files.paths)
