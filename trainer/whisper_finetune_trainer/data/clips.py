"""What a data set is made of once it is read: clips, and a record of those that were left out."""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Container, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from typing_extensions import Literal

from whisper_finetune_api.v1alpha1.status import DataSummary
from whisper_finetune_trainer.data.audio.audio_sources import AudioPlace
from whisper_finetune_trainer.data.clip_statistics import Tally
from whisper_finetune_trainer.messages.errors import TrainerError

if TYPE_CHECKING:
    # It is made of clips itself.
    from whisper_finetune_trainer.data.streams.train_stream import TrainStream

_EXAMPLES = 3
logger = logging.getLogger(__name__)
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
    #: Of a clip that was read, what it goes by.
    identifier: str = ""


@dataclass(frozen=True)
class Clips:
    """The clips to train on and those held out; neither is empty, but `train` is where they are a stream."""

    train: Tuple[Clip, ...]
    evaluation: Tuple[Clip, ...]
    dropped: Mapping[str, int]
    examples: Tuple[str, ...]
    split: Split
    #: What is odd about the data, in words; nothing was left out for it.
    warnings: Tuple[str, ...] = ()
    #: What reading them took of the scratch folder.
    scratch_bytes: int = 0
    #: Train clips that are too many to be listed.
    stream: "Optional[TrainStream]" = None

    def train_texts(self) -> FrozenSet[str]:
        """Return the texts to train on; of a stream, as far as it was read, those that are held out too, normalized."""
        return self.stream.read.met_texts if self.stream else frozenset(clip.text for clip in self.train)

    def all_dropped(self) -> Mapping[str, int]:
        """Return how many were left out by reason; of a stream, as far as it was read."""
        return Tally(dropped=self.dropped).plus(self.stream.tally).dropped if self.stream else self.dropped

    def all_examples(self) -> Tuple[str, ...]:
        """Return the first that were left out, in words; of a stream, as far as it was read."""
        return (*self.examples, *(self.stream.tally.examples if self.stream else ()))

    def summary(self) -> DataSummary:
        """Return what the status shows; of a stream, as far as it was read."""
        return DataSummary(
            train_clips=self.stream.tally.clips if self.stream else len(self.train),
            eval_clips=len(self.evaluation),
            dropped_clips=sum(self.all_dropped().values()),
            split=self.split,
        )


def count(drops: Iterable[Drop]) -> Dict[str, int]:
    """Return how many were left out by reason, the commonest first."""
    return dict(Counter(drop.reason for drop in drops).most_common())


def first_examples(drops: Sequence[Drop]) -> Tuple[str, ...]:
    """Return the first few, in words and in their order; of several reasons rather than of one."""
    places = {drop.reason: place for place, drop in reversed(list(enumerate(drops)))}
    firsts = sorted(places.values())[:_EXAMPLES]
    more = [place for place in range(min(len(drops), 2 * _EXAMPLES)) if place not in firsts]
    return tuple(drops[place].example for place in sorted([*firsts, *more[: _EXAMPLES - len(firsts)]]))


def log_left_out(drops: Sequence[Drop]) -> None:
    """Say how many are left out by reason, and name the first few of each."""
    for reason, number in count(drops).items():
        found = [drop for drop in drops if drop.reason == reason]
        level = logging.INFO if found[0].is_expected else logging.WARNING
        logger.log(level, "left out, %s: %d, such as: %s", reason, number, "; ".join(first_examples(found)))


def refuse_too_many(drops: List[Drop], total: int, max_dropped_fraction: str) -> None:
    """Raise DatasetInvalid where more clips are left out than `dataset.maxDroppedFraction` allows."""
    broken = [drop for drop in drops if not drop.is_expected]
    if len(broken) > float(max_dropped_fraction) * total:
        raise _too_many(len(broken), total, max_dropped_fraction, count(broken), first_examples(broken))


def refuse_faults(tally: Tally, max_dropped_fraction: str) -> None:
    """Raise DatasetInvalid where more of a stream is left out than `dataset.maxDroppedFraction` allows."""
    if tally.faults > float(max_dropped_fraction) * tally.rows:
        raise _too_many(tally.faults, tally.rows, max_dropped_fraction, tally.dropped, tally.examples)


def _too_many(
    broken: int, total: int, max_dropped_fraction: str, reasons: Mapping[str, int], examples: Tuple[str, ...]
) -> TrainerError:
    listed = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
    return TrainerError(
        "DatasetInvalid",
        f"{broken} of {total} clips cannot be used, more than dataset.maxDroppedFraction {max_dropped_fraction} "
        f"allows ({listed}). First: {'; '.join(examples)}",
    )


def without(found: Sequence[Clip], identifiers: Container[str]) -> List[Clip]:
    """Return the clips that have none of the identifiers."""
    return [clip for clip in found if clip.identifier not in identifiers]


def not_empty(found: Sequence[Clip], split: str) -> Tuple[Clip, ...]:
    """Return the clips of a split; DatasetInvalid where none is left."""
    if not found:
        raise TrainerError("DatasetInvalid", f"no clip is left in the {split} split")
    return tuple(found)
