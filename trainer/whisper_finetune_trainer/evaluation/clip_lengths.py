"""Error rates by the length of the clips. Pure."""

from dataclasses import dataclass
from typing import Iterator, List, Sequence, Tuple

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import intervals
from whisper_finetune_trainer.evaluation.intervals import Rate
from whisper_finetune_trainer.evaluation.wer import Measurement

_GROUPS = 5
#: The rate of a smaller group would be chance.
_SMALLEST_GROUP = 4


@dataclass(frozen=True)
class LengthGroup:
    """Held-out clips of about the same length. `shortest` and `longest` are in seconds."""

    shortest: float
    longest: float
    clips: int
    words: int
    before: Rate
    after: Rate


def by_length(clips: Sequence[Clip], before: Measurement, after: Measurement) -> Tuple[LengthGroup, ...]:
    """Return up to five groups with about as many clips each, the shortest clips first.

    Clips whose reference has no word are in no group.
    """
    counted = [index for index, words in enumerate(before.scored.words) if words]
    ordered = sorted(counted, key=lambda index: (clips[index].seconds, index))
    return tuple(_group(indexes, clips, before, after) for indexes in _parts(ordered))


def _parts(ordered: List[int]) -> Iterator[List[int]]:
    groups = max(1, min(_GROUPS, len(ordered) // _SMALLEST_GROUP)) if ordered else 0
    for group in range(groups):
        yield ordered[len(ordered) * group // groups : len(ordered) * (group + 1) // groups]


def _group(indexes: List[int], clips: Sequence[Clip], before: Measurement, after: Measurement) -> LengthGroup:
    return LengthGroup(
        shortest=clips[indexes[0]].seconds,
        longest=clips[indexes[-1]].seconds,
        clips=len(indexes),
        words=sum(before.scored.words[index] for index in indexes),
        before=_rate(before, indexes),
        after=_rate(after, indexes),
    )


def _rate(measurement: Measurement, indexes: List[int]) -> Rate:
    rate = intervals.of_rate(measurement.scored, indexes)
    if rate is None:
        raise ValueError("the references of these clips have no word")
    return rate
