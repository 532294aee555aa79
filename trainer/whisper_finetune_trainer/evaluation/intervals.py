"""95 % intervals of an error rate and of the difference of two, by a bootstrap over clips. Pure."""

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

_RESAMPLES = 10_000
_SEED = 0
#: How many random numbers the bootstrap draws at once. It bounds the memory.
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class ClipErrors:
    """For each clip the wrong words (substituted, deleted, inserted) and the words of its reference.

    Where the metric is the cer, both count letters.
    """

    errors: Tuple[int, ...]
    words: Tuple[int, ...]

    def percent(self, clips: Optional[Sequence[int]] = None) -> float:
        """Return the errors per hundred words over all clips, or over the clips of these indexes.

        The rate is 0 where the references have no word.
        """
        chosen = range(len(self.words)) if clips is None else clips
        words = sum(self.words[clip] for clip in chosen)
        return 100.0 * sum(self.errors[clip] for clip in chosen) / words if words else 0.0


@dataclass(frozen=True)
class Interval:
    """The ends of a 95 % interval: in percent for a rate, in percentage points for a difference."""

    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """An error rate in percent, with its interval."""

    percent: float
    interval: Interval


def of_rate(measured: ClipErrors, clips: Optional[Sequence[int]] = None) -> Optional[Rate]:
    """Return the rate with its interval over all clips, or over the clips of these indexes.

    Return None where the references have no word.
    """
    interval = _bootstrap(np.asarray(measured.errors), measured.words, clips)
    return Rate(measured.percent(clips), interval) if interval else None


def of_difference(before: ClipErrors, after: ClipErrors, clips: Optional[Sequence[int]] = None) -> Optional[Interval]:
    """Return the interval of the rate after training minus the rate before. Below zero is an improvement.

    A drawn clip counts in both rates. `clips` are indexes. Without them, all clips count. Return None where the
    references have no word.
    """
    return _bootstrap(np.asarray(after.errors) - np.asarray(before.errors), before.words, clips)


def _bootstrap(errors: Any, clip_words: Sequence[int], clips: Optional[Sequence[int]]) -> Optional[Interval]:
    chosen = np.arange(len(clip_words)) if clips is None else np.asarray(clips, dtype=np.int64)
    words = np.asarray(clip_words)[chosen]
    if not words.sum():
        return None
    low, high = np.percentile(_resampled_points(errors[chosen], words), [2.5, 97.5])
    return Interval(float(low), float(high))


def _resampled_points(errors: Any, words: Any) -> Any:
    generator = np.random.default_rng(_SEED)
    at_once = max(1, _DRAWS_AT_ONCE // len(words))
    points: List[Any] = []
    for first in range(0, _RESAMPLES, at_once):
        drawn = generator.integers(0, len(words), size=(min(at_once, _RESAMPLES - first), len(words)))
        points.append(100.0 * errors[drawn].sum(axis=1) / np.maximum(words[drawn].sum(axis=1), 1))
    return np.concatenate(points)
