"""What goes through the network in a step, made of its clips beforehand: the accelerator is busy, or a store slow."""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Callable, Deque, Iterable, Iterator, List, Mapping, NamedTuple, Tuple, TypeVar

import torch

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.files import reader_threads
from whisper_finetune_trainer.data.streams.stream_blocks import TrainingPosition
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.replacement_clips import ReplacementClips
from whisper_finetune_trainer.pytorch.batches import ClipBatch, TrainStep
from whisper_finetune_trainer.pytorch.encoder_outputs import EncoderOutputs

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


@dataclass(frozen=True)
class Examples:
    """What goes through the network at once: labels, and the features of what has no cached encoder output."""

    window_seconds: int
    clips: Tuple[Clip, ...]
    labels: torch.Tensor
    features: Mapping[Clip, torch.Tensor]


class PreparedStep(NamedTuple):
    """What goes through the network in a step, and where the training stands after it."""

    position: TrainingPosition
    micro_batches: List[Examples]


class StepMaker:
    """Reads the clips of steps."""

    def __init__(self, loaded: LoadedModel, outputs: EncoderOutputs, replacements: ReplacementClips) -> None:
        """`outputs` read their sounds by `replacements`."""
        self._loaded = loaded
        self._outputs = outputs
        self._replacements = replacements

    def __call__(self, placed: Tuple[TrainStep, TrainingPosition]) -> PreparedStep:
        """Return what goes through the network in a step; DatasetInvalid, and what a store raises."""
        step, position = placed
        return PreparedStep(position, [self._read(micro_batch) for micro_batch in step])

    def _read(self, micro_batch: ClipBatch) -> Examples:
        window_seconds, clips = micro_batch
        # First: the sounds are read for them, and then it is known which clips are replaced.
        features = self._outputs.missing_features(clips)
        labels = examples.labels_of([self._replacements.of(clip) for clip in clips], self._loaded)
        return Examples(window_seconds, clips, labels, features)


def prepare_ahead(
    items: Iterable[Item],
    prepare: Callable[[Item], Prepared],
    threads: int,
    ahead: int,
    check_stop: Callable[[], None],
) -> Iterator[Prepared]:
    """Yield `prepare(item)` in order, up to `ahead` of them made beforehand by threads. 0 threads: made when asked.

    While a thread is waited for, `check_stop` raises where that is to end.
    """
    if threads == 0:
        yield from map(prepare, items)
        return
    source = iter(items)
    with reader_threads.reader_pool(threads) as pool:
        waiting: Deque[Future[Prepared]] = deque(pool.submit(prepare, item) for item in islice(source, ahead))
        try:
            while waiting:
                result = reader_threads.wait_for_result(waiting.popleft(), check_stop)
                waiting.extend(pool.submit(prepare, item) for item in islice(source, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
