"""What the training changed for the held-out clips: word by word, clip by clip, and by their length. Pure.

The counts of words are those of the word error rate. Clips are ranked by their wrong words, and translations by chrF.
"""

from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import jiwer
from typing_extensions import Literal

from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import intervals
from whisper_finetune_trainer.evaluation.clip_counts import ClipFigure
from whisper_finetune_trainer.evaluation.intervals import Rate
from whisper_finetune_trainer.evaluation.wer import Measurement

WordKind = Literal["equal", "substituted", "deleted", "inserted"]


@dataclass(frozen=True)
class AlignedWord:
    """A word of the reference and what was heard for it.

    `heard` is empty for a deleted word, `reference` for an inserted one.
    """

    kind: WordKind
    reference: str
    heard: str


Alignment = Tuple[AlignedWord, ...]


def align(references: Sequence[str], hypotheses: Sequence[str]) -> List[Alignment]:
    """Return one alignment per clip, in order. It is empty where the reference has no word: such clips do not count."""
    kept = [index for index, reference in enumerate(references) if reference.strip()]
    alignments: List[Alignment] = [()] * len(references)
    if kept:
        output = jiwer.process_words([references[index] for index in kept], [hypotheses[index] for index in kept])
        for index, chunks, reference, heard in zip(kept, output.alignments, output.references, output.hypotheses):
            alignments[index] = tuple(word for chunk in chunks for word in _words(chunk, reference, heard))
    return alignments


def errors(alignment: Alignment) -> int:
    """Return how many words were substituted, deleted or inserted."""
    return sum(word.kind != "equal" for word in alignment)


def _words(chunk: Any, reference: List[str], heard: List[str]) -> Iterator[AlignedWord]:
    expected = reference[chunk.ref_start_idx : chunk.ref_end_idx]
    found = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
    if chunk.type == "delete":
        return (AlignedWord("deleted", word, "") for word in expected)
    if chunk.type == "insert":
        return (AlignedWord("inserted", "", word) for word in found)
    kind: WordKind = "equal" if chunk.type == "equal" else "substituted"
    return (AlignedWord(kind, word, other) for word, other in zip(expected, found))


@dataclass(frozen=True)
class ClipChange:
    """One held-out clip, and what was heard of its words before and after training."""

    clip: Clip
    before: Alignment
    after: Alignment
    #: The clip's figures before and after training, where the metric does not count words or letters.
    figures: Optional[Tuple[ClipFigure, ClipFigure]] = None

    @property
    def errors_before(self) -> int:
        """Wrong words before training."""
        return errors(self.before)

    @property
    def errors_after(self) -> int:
        """Wrong words after training."""
        return errors(self.after)

    @property
    def shown(self) -> Tuple[str, str]:
        """What is shown of the clip before and after training: its errors, or its figures."""
        return self._figures[0].text, self._figures[1].text

    @property
    def gain(self) -> float:
        """How much better the clip is heard after training, such as by fewer wrong words. It may be negative."""
        return self._figures[0].loss - self._figures[1].loss

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong after training."""
        return self._figures[1].loss == 0

    @property
    def _figures(self) -> Tuple[ClipFigure, ClipFigure]:
        if self.figures is not None:
            return self.figures
        before, after = self.errors_before, self.errors_after
        return ClipFigure(before, str(before)), ClipFigure(after, str(after))


@dataclass(frozen=True)
class ClipChanges:
    """The clips that changed most, and counts of all clips. Clips whose reference has no word are left out."""

    gained: Tuple[ClipChange, ...]
    lost: Tuple[ClipChange, ...]
    better: int
    worse: int
    unchanged_right: int
    unchanged_wrong: int

    @property
    def total(self) -> int:
        """The number of all clips that were compared."""
        return self.better + self.worse + self.unchanged_right + self.unchanged_wrong

    def shown_in_turn(self) -> Tuple[ClipChange, ...]:
        """Return the clip that gained most, the one that lost most, the next of each, and so on."""
        pairs = zip_longest(self.gained, self.lost)
        return tuple(change for change in chain.from_iterable(pairs) if change is not None)


def compare_clips(
    clips: Sequence[Clip],
    before: Sequence[Alignment],
    after: Sequence[Alignment],
    shown: int = 8,
    figures: Optional[Sequence[Tuple[ClipFigure, ClipFigure]]] = None,
) -> ClipChanges:
    """Return the changes of all clips, with the `shown` clips that gained most and the `shown` that lost most.

    The sequences have one entry per clip, in the same order. Without `figures`, wrong words are counted.
    """
    of_clips: Sequence[Optional[Tuple[ClipFigure, ClipFigure]]] = figures or [None] * len(clips)
    changes = [ClipChange(*parts) for parts in zip(clips, before, after, of_clips) if _counts(parts[1], parts[2])]
    ranked = sorted(changes, key=lambda change: (-change.gain, change.clip.seconds, change.clip.identifier))
    better = [change for change in ranked if change.gain > 0]
    worse = [change for change in reversed(ranked) if change.gain < 0]
    unchanged = [change for change in changes if change.gain == 0]
    right = sum(change.is_right for change in unchanged)
    return ClipChanges(
        gained=tuple(better[:shown]),
        lost=tuple(worse[:shown]),
        better=len(better),
        worse=len(worse),
        unchanged_right=right,
        unchanged_wrong=len(unchanged) - right,
    )


def _counts(before: Alignment, after: Alignment) -> bool:
    return any(word.kind != "inserted" for word in (*before, *after))


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
    return tuple(_group(indexes, clips, before, after) for indexes in _length_groups(ordered))


def _length_groups(ordered: List[int]) -> Iterator[List[int]]:
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
