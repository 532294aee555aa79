"""What a data set is made of once it is read: clips, and a record of those that were left out."""

from collections import Counter
from dataclasses import dataclass
from typing import Dict, Iterable, List, Mapping, Sequence, Tuple

from typing_extensions import Literal

from whisper_finetune_api.v1alpha1.status import DataSummary
from whisper_finetune_trainer.data.audio_places import AudioPlace
from whisper_finetune_trainer.errors import TrainerError

_EXAMPLES = 3
Split = Literal["Given", "Fraction", "Hash"]


@dataclass(frozen=True)
class Clip:
    """Speech of at most one window and what is said in it; the identifier is the only one of its name."""

    identifier: str
    audio: AudioPlace
    text: str
    seconds: float


@dataclass(frozen=True)
class Drop:
    """One clip that is left out: the reason it is counted under, and what a reader can look up."""

    reason: str
    example: str
    #: Left out by the rules of a known data set: that is how it is, and no sign of a broken one.
    is_expected: bool = False


@dataclass(frozen=True)
class Clips:
    """The clips to train on and those held out; neither is empty."""

    train: Tuple[Clip, ...]
    evaluation: Tuple[Clip, ...]
    dropped: Mapping[str, int]
    examples: Tuple[str, ...]
    split: Split
    #: What is odd about the data, in words; nothing was left out for it.
    warnings: Tuple[str, ...] = ()
    #: What reading them took of the scratch folder.
    scratch_bytes: int = 0

    def summary(self) -> DataSummary:
        """Return what the status shows."""
        return DataSummary(
            train_clips=len(self.train),
            eval_clips=len(self.evaluation),
            dropped_clips=sum(self.dropped.values()),
            split=self.split,
        )


def count(drops: Iterable[Drop]) -> Dict[str, int]:
    """Return how many were left out by reason, the commonest first."""
    return dict(Counter(drop.reason for drop in drops).most_common())


def first_examples(drops: List[Drop]) -> Tuple[str, ...]:
    """Return the first few, in words."""
    return tuple(drop.example for drop in drops[:_EXAMPLES])


def refuse_too_many(drops: List[Drop], total: int, max_dropped_fraction: str) -> None:
    """Raise DatasetInvalid where more clips are left out than `dataset.maxDroppedFraction` allows."""
    broken = [drop for drop in drops if not drop.is_expected]
    if len(broken) <= float(max_dropped_fraction) * total:
        return
    reasons = ", ".join(f"{reason} {number}" for reason, number in count(broken).items())
    raise TrainerError(
        "DatasetInvalid",
        f"{len(broken)} of {total} clips cannot be used, more than dataset.maxDroppedFraction {max_dropped_fraction} "
        f"allows ({reasons}). First: {'; '.join(first_examples(broken))}",
    )


def not_empty(found: Sequence[Clip], split: str) -> Tuple[Clip, ...]:
    """Return the clips of a split; DatasetInvalid where none is left."""
    if not found:
        raise TrainerError("DatasetInvalid", f"no clip is left in the {split} split")
    return tuple(found)
