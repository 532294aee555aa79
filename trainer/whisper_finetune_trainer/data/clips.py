"""A data set after it is read: clips, clips that were left out, and the statistics of both."""

import hashlib
import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Container, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from typing_extensions import Literal

from whisper_finetune_trainer.data.audio.audio_sources import AudioSource, RecordingSegment
from whisper_finetune_trainer.data.text_rules import DroppedByRule, TimedText
from whisper_finetune_trainer.messages.errors import TrainerError

_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True)
class ClipStatistics:
    """Counts of the clips to train on, and of the clips left out by reason. `faults` counts those that are broken."""

    clips: int = 0
    seconds: float = 0.0
    longest_seconds: float = 0.0
    dropped: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0
    #: The first faults, in words.
    examples: Tuple[str, ...] = ()
    #: The normalized held-out texts that are also texts of train clips.
    met_texts: FrozenSet[str] = frozenset()

    @property
    def rows(self) -> int:
        """How many clips were read, without the held-out ones."""
        return self.clips + sum(self.dropped.values())

    def plus(self, other: "ClipStatistics") -> "ClipStatistics":
        """Return the sum of both statistics."""
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
        """Return JSON values for `of_values`."""
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
        """Return the statistics that `values` returned these for."""
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
    """Return a duration as people write it."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{seconds:.1f} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def speech_in_words(clip_seconds: Sequence[float]) -> str:
    """Return in words how many clips there are, and how long they are together and each."""
    ordered: List[float] = sorted(clip_seconds)
    middle = ordered[len(ordered) // 2]
    lengths = f"{ordered[0]:.1f} to {ordered[-1]:.1f} s each, median {middle:.1f} s"
    return f"{len(ordered)} clips, {duration_in_words(sum(ordered))} of speech ({lengths})"


_EXAMPLES = 3
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A clip: its sound, what is said in it, and its length. Each clip has an identifier of its own."""

    identifier: str
    audio: AudioSource
    text: str
    seconds: float
    #: Who speaks, as the data set names them. It is empty where it does not.
    speaker: str = ""
    #: The parts of its text with their times, where the text had timestamps that are trained on.
    timed: Tuple[TimedText, ...] = ()


#: Why a clip is left out. Logs, reports and the states of streams count clips under these names.
DropReason = Union[
    DroppedByRule,
    Literal[
        "audio also held out",
        "broken line",
        "broken shard",
        "cannot be decoded",
        "empty text",
        "label too long",
        "missing audio file",
        "MP3 without its length",
        "outside of its recording",
        "overlaps a held-out segment",
        "path outside of the source",
        "silent",
        "special token",
        "text too long",
        "too long",
        "unreadable audio",
    ],
]


@dataclass(frozen=True)
class Drop:
    """One clip that is left out: its reason, and an example in words with which a reader can find it."""

    reason: DropReason
    example: str
    #: Whether this is no fault: a rule of a known data set leaves it out, or it is a copy.
    is_expected: bool = False
    #: The clip's identifier, if the clip was read.
    identifier: str = ""


#: Returns why a clip is left out, or None for a clip that stays.
RefuseClip = Callable[[Clip], Optional[Drop]]


@dataclass(frozen=True)
class HeldOutTexts:
    """The normalized texts of the held-out clips, and the normalizer."""

    texts: FrozenSet[str] = frozenset()
    normalize: Callable[[str], str] = str

    def met_in(self, found: Iterable[Clip]) -> FrozenSet[str]:
        """Return the held-out texts that are also said in one of these clips."""
        return self.texts.intersection(self.normalize(clip.text) for clip in found)


def count_drops(drops: Iterable[Drop]) -> Dict[str, int]:
    """Return how many clips were left out by reason, the most frequent reason first."""
    return dict(Counter(drop.reason for drop in drops).most_common())


def examples_of_drops(drops: Sequence[Drop]) -> Tuple[str, ...]:
    """Return a few examples in words, in their order. They are of different reasons, as far as there are any."""
    indexes = {drop.reason: index for index, drop in reversed(list(enumerate(drops)))}
    firsts = sorted(indexes.values())[:_EXAMPLES]
    more = [index for index in range(min(len(drops), 2 * _EXAMPLES)) if index not in firsts]
    return tuple(drops[index].example for index in sorted([*firsts, *more[: _EXAMPLES - len(firsts)]]))


def log_left_out(drops: Sequence[Drop]) -> None:
    """Log how many clips are left out by reason, with a few examples of each."""
    for reason, number in count_drops(drops).items():
        found = [drop for drop in drops if drop.reason == reason]
        level = logging.INFO if found[0].is_expected else logging.WARNING
        logger.log(level, "left out, %s: %d, such as: %s", reason, number, "; ".join(examples_of_drops(found)))


def refuse_too_many(drops: List[Drop], total: int, max_dropped_fraction: str) -> None:
    """Raise DatasetInvalid where more clips are left out than `dataset.maxDroppedFraction` allows."""
    broken = [drop for drop in drops if not drop.is_expected]
    if len(broken) > float(max_dropped_fraction) * total:
        raise _too_many(len(broken), total, max_dropped_fraction, count_drops(broken), examples_of_drops(broken))


def refuse_faults(statistics: ClipStatistics, max_dropped_fraction: str) -> None:
    """Raise DatasetInvalid where more of a stream is left out than `dataset.maxDroppedFraction` allows."""
    if statistics.faults > float(max_dropped_fraction) * statistics.rows:
        raise _too_many(
            statistics.faults, statistics.rows, max_dropped_fraction, statistics.dropped, statistics.examples
        )


def _too_many(
    broken: int, total: int, max_dropped_fraction: str, reasons: Mapping[str, int], examples: Tuple[str, ...]
) -> TrainerError:
    listed = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
    return TrainerError(
        "DatasetInvalid",
        f"{broken} of {total} clips cannot be used, more than dataset.maxDroppedFraction {max_dropped_fraction} "
        f"allows ({listed}). First: {'; '.join(examples)}",
    )


def without_clips(found: Sequence[Clip], identifiers: Container[str]) -> List[Clip]:
    """Return the clips without those that have one of the identifiers."""
    return [clip for clip in found if clip.identifier not in identifiers]


def require_clips(found: Sequence[Clip], split: str) -> Tuple[Clip, ...]:
    """Return the clips of a split. Raises DatasetInvalid where none is left."""
    if not found:
        raise TrainerError("DatasetInvalid", f"no clip is left in the {split} split")
    return tuple(found)


def digest_of_clips(found: Sequence[Clip]) -> str:
    """Return the sha256, in hex, of the clips' identifiers and texts, in their order.

    For segments of recordings it includes where they begin and end, and so it does for parts of a text with timestamps.
    """
    rendered = json.dumps([[clip.identifier, clip.text, *_boundaries(clip)] for clip in found], ensure_ascii=False)
    return hashlib.sha256(rendered.encode()).hexdigest()


def _boundaries(clip: Clip) -> Tuple[Any, ...]:
    # An utterance of Kaldi keeps its name when somebody corrects its segment.
    segment = (clip.audio.start_frame, clip.audio.frames) if isinstance(clip.audio, RecordingSegment) else ()
    return (*segment, *clip.timed)
