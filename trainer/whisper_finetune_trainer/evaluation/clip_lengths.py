"""Scores by the length of the clips. Pure."""

from dataclasses import dataclass
from typing import Iterator, List, Sequence, Tuple

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import intervals
from whisper_finetune_trainer.evaluation.intervals import Rate
from whisper_finetune_trainer.evaluation.wer import Measurement

_GROUPS = 5
#: Smaller groups say nothing.
_SMALLEST_GROUP = 4


@dataclass(frozen=True)
class LengthGroup:
    """The held-out clips of about one length, from the shortest to the longest of them in seconds."""

    shortest: float
    longest: float
    clips: int
    words: int
    before: Rate
    after: Rate


def by_length(clips: Sequence[Clip], before: Measurement, after: Measurement) -> Tuple[LengthGroup, ...]:
    """Return groups of about as many clips each, the shortest clips first; clips that hold no word are in none."""
    counted = [place for place, words in enumerate(before.scored.words) if words]
    ordered = sorted(counted, key=lambda place: (clips[place].seconds, place))
    return tuple(_group(places, clips, before, after) for places in _parts(ordered))


def _parts(ordered: List[int]) -> Iterator[List[int]]:
    groups = max(1, min(_GROUPS, len(ordered) // _SMALLEST_GROUP)) if ordered else 0
    for group in range(groups):
        yield ordered[len(ordered) * group // groups : len(ordered) * (group + 1) // groups]


def _group(places: List[int], clips: Sequence[Clip], before: Measurement, after: Measurement) -> LengthGroup:
    return LengthGroup(
        shortest=clips[places[0]].seconds,
        longest=clips[places[-1]].seconds,
        clips=len(places),
        words=sum(before.scored.words[place] for place in places),
        before=_rate(before, places),
        after=_rate(after, places),
    )


def _rate(measurement: Measurement, places: List[int]) -> Rate:
    rate = intervals.of_rate(measurement.scored, places)
    if rate is None:
        raise ValueError("these clips hold no word")
    return rate
