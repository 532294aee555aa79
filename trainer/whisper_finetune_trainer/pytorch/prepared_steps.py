"""What goes through the network in a step, made of its clips by any thread."""

from dataclasses import dataclass
from typing import List, Mapping, NamedTuple, Tuple

import torch

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.streams.stream_blocks import TrainingPosition
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.replacement_clips import ReplacementClips
from whisper_finetune_trainer.pytorch.encoder_outputs import EncoderOutputs
from whisper_finetune_trainer.pytorch.train_steps import ClipBatch, TrainStep


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
