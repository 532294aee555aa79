"""Which clips, or passages of clips, go through the network in a step, and what is prepared for them.

The order of a block's clips is a pure function of the block's key, so a resumed run finds it again. Every clip occurs
once. All clips of a micro-batch have the same window. So have the clips of a step, except for steps with clips that are
left over of each window. All steps have `batch_size` clips, except for the last one of an epoch.

Steps are prepared ahead of the training, while the accelerator is busy or a store is slow.
"""

import heapq
import random
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import (
    Callable,
    Deque,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import torch

from whisper_finetune_trainer.data import passages, source_files
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.passages import PackingRules, TrainItem
from whisper_finetune_trainer.data.streams.stream_blocks import Block, TrainingPosition
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.examples import ReplacementClips, Targets
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.pytorch.encoder_outputs import EncoderOutputs

#: The windows in seconds. Each clip gets the shortest in which it fits, and always the same. The encoder attends to the
#: silence after the speech too, so its output depends on the window.
_WINDOWS = (5, 10, 20, 30)
#: Of so many texts the label is made to find the longest one.
_LONGEST_TEXTS = 32
#: Returns the window of a clip or a passage in seconds.
WindowOf = Callable[[TrainItem], int]


@dataclass(frozen=True)
class MicroBatch:
    """Clips that go through the network together in one window, by their indexes in their block."""

    window_seconds: int
    clips: Tuple[int, ...]


Step = Tuple[MicroBatch, ...]


class ClipBatch(NamedTuple):
    """Clips, or passages of clips, that go through the network together in one window."""

    window_seconds: int
    clips: Tuple[TrainItem, ...]


TrainStep = Tuple[ClipBatch, ...]


class StepSize(NamedTuple):
    """How many clips a step has, and how many of them go through the network at once, at most."""

    batch_size: int
    micro_batch_size: int


def window_for(clip_seconds: float, model_window_seconds: int, wanted: Optional[str] = None) -> int:
    """Return the window in seconds for a clip. The clip is not longer than the model's own window.

    `wanted` is `training.window`: with Full it is the model's own.
    """
    windows = () if wanted == "Full" else _WINDOWS
    fitting = [window for window in windows if clip_seconds <= window < model_window_seconds]
    return min(fitting, default=model_window_seconds)


def longest_of(clips: Sequence[Clip], loaded: LoadedModel, window_of: WindowOf) -> Tuple[int, int]:
    """Return the longest window of clips in seconds, and the tokens of their longest texts' labels.

    Without clips, as where they are packed or come from a stream, both are the largest that the run allows.
    """
    if not clips:
        return loaded.feature_settings.window_seconds, loaded.most_label_tokens
    longest = heapq.nlargest(_LONGEST_TEXTS, clips, key=lambda clip: len(clip.text))
    tokens = max(len(examples.label_of(clip, loaded).said) for clip in longest)
    return max(map(window_of, clips)), tokens


def divide_into_batches(
    block: Block, window_of: WindowOf, size: StepSize, rules: Optional[PackingRules] = None
) -> List[TrainStep]:
    """Return the steps of a block. Each clip is in one of them, in a passage where there are rules to pack. Pure."""
    items = passages.plan_passages(block.clips, rules, block.shuffle_key) if rules else block.clips
    steps = epoch_steps([window_of(item) for item in items], block.shuffle_key, *size)
    return [tuple(_with_clips(batch, items) for batch in step) for step in steps]


def epoch_steps(windows: Sequence[int], shuffle_key: str, batch_size: int, micro_batch_size: int) -> Tuple[Step, ...]:
    """Return the steps of a block, given the window of each of its clips in seconds."""
    generator = random.Random(shuffle_key)  # noqa: S311 -- nothing secret
    order = list(range(len(windows)))
    generator.shuffle(order)
    by_window: Dict[int, List[int]] = {window: [] for window in sorted(set(windows))}
    for clip in order:
        by_window[windows[clip]].append(clip)
    full, left_over = [], []
    for clips in by_window.values():
        whole = len(clips) // batch_size * batch_size
        full += _chunks(clips[:whole], batch_size)
        left_over += clips[whole:]
    steps = full + _chunks(left_over, batch_size)
    generator.shuffle(steps)
    return tuple(_micro_batches(step, windows, micro_batch_size) for step in steps)


def _micro_batches(clips: Sequence[int], windows: Sequence[int], micro_batch_size: int) -> Step:
    return tuple(
        MicroBatch(window, tuple(chunk))
        for window, group in groupby(clips, key=lambda clip: windows[clip])
        for chunk in _parts(list(group), micro_batch_size)
    )


def _parts(items: Sequence[int], largest: int) -> List[Sequence[int]]:
    """Divide into as few parts of at most `largest` as possible. They are nearly equal: small ones waste time."""
    count = -(-len(items) // largest)
    ends = [part * len(items) // count for part in range(count + 1)]
    return [items[first:end] for first, end in zip(ends, ends[1:])]


def _chunks(items: Sequence[int], size: int) -> List[Sequence[int]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _with_clips(batch: MicroBatch, clips: Sequence[TrainItem]) -> ClipBatch:
    return ClipBatch(batch.window_seconds, tuple(clips[index] for index in batch.clips))


Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


@dataclass(frozen=True)
class Examples:
    """The inputs of clips of one window: those of the decoder, and features where no encoder output is cached."""

    window_seconds: int
    clips: Tuple[TrainItem, ...]
    targets: Targets
    features: Mapping[TrainItem, torch.Tensor]


def split_examples(batch: Examples, largest: int) -> List[Examples]:
    """Divide examples into as few nearly equal parts of at most `largest` clips as possible."""
    parts = _parts(range(len(batch.clips)), largest)
    return [batch] if len(parts) == 1 else [_rows(batch, part) for part in parts]


def _rows(batch: Examples, part: Sequence[int]) -> Examples:
    rows = slice(part[0], part[-1] + 1)
    labels, inputs = (tensor[rows] for tensor in batch.targets)
    # The label that is the longest of all may be in another part.
    tokens = int((labels != examples.IGNORED).any(dim=0).nonzero().max()) + 1
    targets = Targets(labels[:, :tokens], inputs[:, :tokens])
    return replace(batch, clips=batch.clips[rows], targets=targets)


class PreparedStep(NamedTuple):
    """The inputs of a step by window, and the training's position after it."""

    position: TrainingPosition
    batches: List[Examples]


class StepMaker:
    """Prepares steps: reads their clips, and makes features and labels."""

    def __init__(self, loaded: LoadedModel, outputs: EncoderOutputs, replacements: ReplacementClips) -> None:
        """`outputs` reads the sounds through `replacements`."""
        self._loaded = loaded
        self._outputs = outputs
        self._replacements = replacements

    def __call__(self, placed: Tuple[TrainStep, TrainingPosition]) -> PreparedStep:
        """Return the inputs of a step. Raises DatasetInvalid, and what a store raises."""
        step, position = placed
        return PreparedStep(position, [self._read(micro_batch) for micro_batch in step])

    def _read(self, micro_batch: ClipBatch) -> Examples:
        window_seconds, clips = micro_batch
        # The features first: the sounds are read for them, and only then it is known which clips are replaced.
        features = self._outputs.missing_features(clips)
        targets = examples.targets_of([self._replacements.of(clip) for clip in clips], self._loaded)
        return Examples(window_seconds, clips, targets, features)


def prepare_ahead(
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared],
    threads: int,
    ahead: int,
    check_stop: Callable[[], None],
) -> Iterator[Prepared]:
    """Yield `prepare(item)` in order. Threads prepare up to `ahead` of them. With 0 threads nothing is done ahead.

    `check_stop` is called while a thread is waited for, and raises where the waiting is to end.
    """
    if threads == 0:
        yield from map(prepare, items)
        return
    source = iter(items)
    with source_files.reader_pool(threads) as pool:
        waiting: Deque[Future[Prepared]] = deque(pool.submit(prepare, item) for item in islice(source, ahead))
        try:
            while waiting:
                result = source_files.wait_for_result(waiting.popleft(), check_stop)
                waiting.extend(pool.submit(prepare, item) for item in islice(source, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
