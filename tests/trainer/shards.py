"""Tones of different lengths in tar or Parquet shards, for reading as a stream."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import soundfile
from pyarrow import parquet

import clip_loading
from data_layouts import write_tar
from tones import SAMPLE_RATE, TEXTS, tone
from trainer_configs import make_config, make_spec
from whisper_finetune_trainer.data.layouts.layout import StreamLimits
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.data.streams.stream_blocks import Block, Cursor
from whisper_finetune_trainer.data.streams.train_stream import TrainStream

#: All shards are too large to be listed, and a block holds a few clips of one second in 16 bit.
LIMITS = StreamLimits(listed_bytes=0, block_bytes=300_000, lanes=2, least_sampled=20, held_out_clips=6)
#: Clips of a step.
BATCH = 4
GIT_LFS_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 151061672\n"
_START = Cursor()


@functools.lru_cache(maxsize=1_000)
def sound(number: int, seconds: float | None = None) -> bytes:
    """Return the file of a clip."""
    file = io.BytesIO()
    length = 0.6 + 0.1 * (number % 5) if seconds is None else seconds
    soundfile.write(file, tone(number, length), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def text(number: int) -> str:
    """Return what is said in a clip."""
    return f"{TEXTS[number % len(TEXTS)]} {number}"


def tar_members(numbers: range) -> list[tuple[str, bytes]]:
    """Return the members of a shard."""
    return [
        member
        for number in numbers
        for member in ((f"clip-{number:04d}.wav", sound(number)), (f"clip-{number:04d}.txt", text(number).encode()))
    ]


def write_tars(folder: Path, count: int, clips_per_shard: int) -> None:
    """Write clips into train-000000.tar, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard, first in enumerate(range(0, count, clips_per_shard)):
        numbers = range(first, min(first + clips_per_shard, count))
        write_tar(folder / f"train-{shard:06d}.tar", tar_members(numbers))


def write_parquets(folder: Path, count: int, clips_per_shard: int) -> None:
    """Write clips into train-00000.parquet, ..., as the Hub has them, in row groups of five."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard, first in enumerate(range(0, count, clips_per_shard)):
        numbers = range(first, min(first + clips_per_shard, count))
        rows = [{"bytes": sound(number), "path": f"clip-{number:04d}.wav"} for number in numbers]
        table = pa.table({"audio": rows, "sentence": [text(number) for number in numbers]})
        parquet.write_table(table, folder / f"train-{shard:05d}.parquet", row_group_size=5)


def load(
    speech: Path,
    source: str,
    limits: StreamLimits = LIMITS,
    training: dict[str, Any] | None = None,
    **fields: Any,
) -> Clips:
    """Return the clips of pvc://speech/SOURCE; `fields` are of spec.dataset."""
    spec = make_spec(dataset={"source": f"pvc://speech/{source}", **fields}, training=training or {})
    return clip_loading.load_clips(make_config(spec, speech, scratch=speech), limits)


def stream_of(clips: Clips) -> TrainStream:
    """Return the train clips of a data set that must be a stream."""
    assert isinstance(clips.train, TrainStream)
    return clips.train


def blocks(stream: TrainStream, count: int, start: Cursor = _START) -> list[Block]:
    """Return so many blocks from a cursor on."""
    with stream.blocks(start, BATCH) as found:
        return list(islice(found, count))


def epoch(stream: TrainStream, number: int = 0) -> list[Block]:
    """Return the blocks of an epoch."""

    def until_its_end(found: Iterator[Block]) -> Iterator[Block]:
        for block in found:
            yield block
            if block.following.epoch != number:
                return

    with stream.blocks(Cursor(epoch=number), BATCH) as found:
        return list(until_its_end(found))


def names(found: list[Block]) -> list[str]:
    """Return the identifiers of the blocks' clips."""
    return [clip.identifier for block in found for clip in block.clips]
