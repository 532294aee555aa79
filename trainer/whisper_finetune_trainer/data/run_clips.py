"""What a data set is made of once it is read: clips to train on, clips held out, and a record of what was left out."""

from dataclasses import dataclass
from typing import Mapping, Tuple

from typing_extensions import Literal

from whisper_finetune_api.v1alpha1.status import DataSummary
from whisper_finetune_trainer.data.clip_statistics import ClipStatistics
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.train_clips import TrainClips

Split = Literal["Given", "Fraction", "Hash"]


@dataclass(frozen=True)
class Clips:
    """The clips to train on and those held out; neither is empty."""

    train: TrainClips
    evaluation: Tuple[Clip, ...]
    dropped: Mapping[str, int]
    examples: Tuple[str, ...]
    split: Split
    #: What is odd about the data, in words; nothing was left out for it.
    warnings: Tuple[str, ...] = ()
    #: What reading them took of the scratch folder.
    scratch_bytes: int = 0

    def all_dropped(self) -> Mapping[str, int]:
        """Return how many were left out by reason; of a stream, as far as it was read."""
        return ClipStatistics(dropped=self.dropped).plus(self.train.statistics).dropped

    def all_examples(self) -> Tuple[str, ...]:
        """Return the first that were left out, in words; of a stream, as far as it was read."""
        return (*self.examples, *self.train.statistics.examples)

    def summary(self) -> DataSummary:
        """Return what the status shows; of a stream, as far as it was read."""
        return DataSummary(
            train_clips=self.train.statistics.clips,
            eval_clips=len(self.evaluation),
            dropped_clips=sum(self.all_dropped().values()),
            split=self.split,
        )
