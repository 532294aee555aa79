"""95 % intervals of a score and of the difference of two, by a bootstrap over speakers, recordings or clips. Pure."""

import functools
import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from whisper_finetune_api.v1alpha1.scores import DrawnUnit
from whisper_finetune_trainer.evaluation.clip_counts import ClipCounts

_RESAMPLES = 10_000
_SEED = 0
#: How many random numbers the bootstrap draws at once. It bounds the memory.
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """The ends of a 95 % interval: in percent for a rate, in percentage points for a difference."""

    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """A score in percent, with its interval."""

    percent: float
    interval: Interval


def of_rate(measured: ClipCounts, clips: Optional[Sequence[int]] = None) -> Optional[Rate]:
    """Return the score with its interval over all clips, or over the clips of these indexes.

    Return None where the references have no word.
    """
    percent, drawn = measured.percent(clips), draw_by(measured, clips)
    if drawn.unit == "Clips":
        interval = _bootstrap(measured.words, measured.of_draws, clips)
        return Rate(percent, interval) if interval else None
    units = measured.together(drawn.members)
    interval = _bootstrap(units.words, units.of_draws, None)
    return Rate(percent, widen_for_few(interval, percent, drawn.effective)) if interval else None


def of_difference(before: ClipCounts, after: ClipCounts, clips: Optional[Sequence[int]] = None) -> Optional[Interval]:
    """Return the interval of the score after training less the score before. Both are of the same metric.

    What is drawn counts in both scores. `clips` are indexes. Without them, all clips count. Return None where the
    references have no word.
    """
    drawn = draw_by(before, clips)
    if drawn.unit == "Clips":
        return _bootstrap(before.words, functools.partial(after.difference_of_draws, before), clips)
    old, new = before.together(drawn.members), after.together(drawn.members)
    interval = _bootstrap(old.words, functools.partial(new.difference_of_draws, old), None)
    return widen_for_few(interval, new.percent() - old.percent(), drawn.effective) if interval else None


#: Where speakers weigh as much as fewer equal ones would, an interval says next to nothing of others.
FEWEST_UNITS = 4


@dataclass(frozen=True)
class Drawn:
    """What a bootstrap draws, and the clips of each: indexes of those with a word."""

    unit: DrawnUnit
    members: Tuple[Tuple[int, ...], ...]
    #: As how many equal ones they count. One that has most of the words counts for nearly all.
    effective: float


def draw_by(measured: ClipCounts, clips: Optional[Sequence[int]] = None) -> Drawn:
    """Return what is drawn for the interval of these clips: whole speakers, else whole recordings, else clips.

    Clips of one speaker are heard well or badly together, and so are those of one recording. An interval over clips
    would be as narrow as if each were somebody else's. Where there are fewer than FEWEST_UNITS speakers, nothing can
    be said of others, and the interval holds for these alone.
    """
    chosen = [clip for clip in (range(len(measured.words)) if clips is None else clips) if measured.words[clip]]
    known: Tuple[Tuple[DrawnUnit, Sequence[str]], ...] = (
        ("Speakers", measured.groups.speakers),
        ("Recordings", measured.groups.recordings),
    )
    for unit, names in known:
        drawn = _drawn(unit, _members(chosen, names), measured.words)
        if (
            _names_most(measured, chosen, names)
            and drawn.effective >= FEWEST_UNITS
            and len(drawn.members) < len(chosen)
        ):
            return drawn
    return _drawn("Clips", tuple((clip,) for clip in chosen), measured.words)


def few_speakers(measured: ClipCounts) -> Optional[int]:
    """Return how many speakers are named, where they are too few to say anything of others, else None.

    It is None too where most is said by nobody who is named.
    """
    chosen, names = [clip for clip, words in enumerate(measured.words) if words], measured.groups.speakers
    speakers = _drawn("Speakers", _members(chosen, names), measured.words)
    if speakers.effective >= FEWEST_UNITS or not _names_most(measured, chosen, names):
        return None
    return len({names[clip] for clip in chosen if names[clip]})


def _names_most(measured: ClipCounts, chosen: Sequence[int], names: Sequence[str]) -> bool:
    """Return whether at least half of the words are in clips that have a name. The few others are each by itself."""
    named = sum(measured.words[clip] for clip in chosen if names and names[clip])
    return 0 < sum(measured.words[clip] for clip in chosen) <= 2 * named


def _drawn(unit: DrawnUnit, members: Tuple[Tuple[int, ...], ...], words: Sequence[int]) -> Drawn:
    sizes = [sum(words[clip] for clip in each) for each in members]
    squares = sum(size**2 for size in sizes)
    return Drawn(unit, members, sum(sizes) ** 2 / squares if squares else 0.0)


def _members(chosen: Sequence[int], names: Sequence[str]) -> Tuple[Tuple[int, ...], ...]:
    """Return the clips of each name. A clip without a name is by itself."""
    found: Dict[Tuple[str, int], List[int]] = {}
    for clip in chosen:
        name = names[clip] if names else ""
        found.setdefault((name, -1 if name else clip), []).append(clip)
    return tuple(map(tuple, found.values()))


#: The ends of a 95 % interval of the normal distribution, in standard deviations.
_NORMAL_QUANTILE = 1.96


def widen_for_few(interval: Interval, difference: float, units: float) -> Interval:
    """Return the interval as it must be where only so many units, more than one, were drawn from.

    A bootstrap over few units is too narrow: of trainings without effect, it would call twice as many worse as it
    promises. Student's t corrects that. Its quantile is by the first terms of the Cornish-Fisher expansion.
    """
    free, normal = units - 1, _NORMAL_QUANTILE
    first = (normal**3 + normal) / (4 * free)
    second = (5 * normal**5 + 16 * normal**3 + 3 * normal) / (96 * free**2)
    factor = (normal + first + second) / normal * math.sqrt(units / free)
    return Interval(
        difference + (interval.low - difference) * factor, difference + (interval.high - difference) * factor
    )


#: Returns the points (draws,) of clips with these indexes, of which each draw takes the positions `drawn` (draws, n).
_PointsOfDraws = Callable[[Any, Any], Any]


def _bootstrap(
    clip_words: Sequence[int], points_of: _PointsOfDraws, clips: Optional[Sequence[int]]
) -> Optional[Interval]:
    chosen = np.arange(len(clip_words)) if clips is None else np.asarray(clips, dtype=np.int64)
    if not np.asarray(clip_words)[chosen].sum():
        return None
    low, high = np.percentile(_resampled_points(chosen, points_of), [2.5, 97.5])
    return Interval(float(low), float(high))


def _resampled_points(clips: Any, points_of: _PointsOfDraws) -> Any:
    generator = np.random.default_rng(_SEED)
    at_once = max(1, _DRAWS_AT_ONCE // len(clips))
    points: List[Any] = []
    for first in range(0, _RESAMPLES, at_once):
        drawn = generator.integers(0, len(clips), size=(min(at_once, _RESAMPLES - first), len(clips)))
        points.append(points_of(clips, drawn))
    return np.concatenate(points)
