"""The clips of each optimizer step, by the micro-batches that go through the network together."""

from typing import Callable, List, NamedTuple, Tuple

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.streams.stream_blocks import Block
from whisper_finetune_trainer.pytorch import batches
from whisper_finetune_trainer.pytorch.batches import StepSize

#: Window of a clip, in seconds.
WindowOf = Callable[[Clip], int]


class ClipBatch(NamedTuple):
    """Clips that go through the network together, in one window."""

    window_seconds: int
    clips: Tuple[Clip, ...]


TrainStep = Tuple[ClipBatch, ...]


def divide_block(block: Block, window_of: WindowOf, size: StepSize) -> List[TrainStep]:
    """Return the steps of a block, each clip in one of them. Pure."""
    windows = [window_of(clip) for clip in block.clips]
    steps = batches.epoch_steps(windows, block.shuffle_key, *size)
    return [tuple(_with_clips(batch, block.clips) for batch in step) for step in steps]


def _with_clips(batch: batches.MicroBatch, clips: Tuple[Clip, ...]) -> ClipBatch:
    return ClipBatch(batch.window_seconds, tuple(clips[place] for place in batch.clips))
