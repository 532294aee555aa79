"""What a stream was made of, as far as it was read: counts that can be added up and saved with a state. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, FrozenSet, List, Mapping, Sequence, Tuple

_EXAMPLES = 3
_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True)
class ClipStatistics:
    """Clips that can be trained on and their seconds, those left out by reason, and how many of these are faults."""

    clips: int = 0
    seconds: float = 0.0
    longest_seconds: float = 0.0
    dropped: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0
    #: Of the faults, in words.
    examples: Tuple[str, ...] = ()
    #: Held-out texts, normalized, that were met among those trained on.
    met_texts: FrozenSet[str] = frozenset()

    @property
    def rows(self) -> int:
        """Return how many clips were looked at, without those held out."""
        return self.clips + sum(self.dropped.values())

    def plus(self, other: "ClipStatistics") -> "ClipStatistics":
        """Return what both are made of."""
        return ClipStatistics(
            clips=self.clips + other.clips,
            seconds=self.seconds + other.seconds,
            longest_seconds=max(self.longest_seconds, other.longest_seconds),
            dropped=dict((Counter(self.dropped) + Counter(other.dropped)).most_common()),
            faults=self.faults + other.faults,
            examples=(*self.examples, *other.examples)[:_EXAMPLES],
            met_texts=self.met_texts | other.met_texts,
        )

    def values(self) -> Mapping[str, Any]:
        """Return what `of_values` takes, as JSON can say it."""
        return {
            "clips": self.clips,
            "seconds": self.seconds,
            "longestSeconds": self.longest_seconds,
            "dropped": dict(self.dropped),
            "faults": self.faults,
            "examples": list(self.examples),
            "metTexts": sorted(self.met_texts),
        }

    @staticmethod
    def of_values(values: Mapping[str, Any]) -> "ClipStatistics":
        """Return the statistics of such values."""
        return ClipStatistics(
            values["clips"],
            values["seconds"],
            values["longestSeconds"],
            values["dropped"],
            values["faults"],
            tuple(values["examples"]),
            frozenset(values["metTexts"]),
        )


def duration_in_words(seconds: float) -> str:
    """Return a time as people say it."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{seconds:.1f} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def speech_in_words(clip_seconds: Sequence[float]) -> str:
    """Return how many clips there are, and how long they are together and each."""
    ordered: List[float] = sorted(clip_seconds)
    middle = ordered[len(ordered) // 2]
    lengths = f"{ordered[0]:.1f} to {ordered[-1]:.1f} s each, median {middle:.1f} s"
    return f"{len(ordered)} clips, {duration_in_words(sum(ordered))} of speech ({lengths})"
