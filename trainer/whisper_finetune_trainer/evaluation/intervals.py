"""95 % intervals of a score and of the difference of two, by a bootstrap over clips. Pure."""

import functools
import math
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Sequence

import numpy as np

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
    interval = _bootstrap(measured.words, measured.of_draws, clips)
    return Rate(measured.percent(clips), interval) if interval else None


def of_difference(before: ClipCounts, after: ClipCounts, clips: Optional[Sequence[int]] = None) -> Optional[Interval]:
    """Return the interval of the score after training less the score before. Both are of the same metric.

    A drawn clip counts in both scores. `clips` are indexes. Without them, all clips count. Return None where the
    references have no word.
    """
    return _bootstrap(before.words, functools.partial(after.difference_of_draws, before), clips)


#: The ends of a 95 % interval of the normal distribution, in standard deviations.
_NORMAL_QUANTILE = 1.96


def widen_for_few(interval: Interval, difference: float, units: int) -> Interval:
    """Return the interval of a difference as it must be where only so many units, at least two, were drawn from.

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
