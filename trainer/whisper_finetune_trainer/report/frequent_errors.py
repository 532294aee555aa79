"""The words that were most often heard wrong, missed or added, before and after training. Pure."""

from collections import Counter
from dataclasses import dataclass
from typing import Counter as CounterType
from typing import Iterable, Sequence, Tuple

from whisper_finetune_trainer.evaluation.word_alignment import AlignedWord, Alignment, WordKind


@dataclass(frozen=True)
class FrequentError:
    """One error and how often it was made."""

    word: AlignedWord
    before: int
    after: int


@dataclass(frozen=True)
class FrequentErrors:
    """The most frequent errors of one kind, and how many there are of it in all."""

    kind: WordKind
    errors: Tuple[FrequentError, ...]
    before: int
    after: int


def find(before: Sequence[Alignment], after: Sequence[Alignment], kind: WordKind, shown: int = 10) -> FrequentErrors:
    """Return the errors of a kind that were made most often, before or after."""
    old, new = _count(before, kind), _count(after, kind)
    words = sorted({*old, *new}, key=lambda word: (-max(old[word], new[word]), -old[word], word.reference, word.heard))
    errors = tuple(FrequentError(word, old[word], new[word]) for word in words[:shown])
    return FrequentErrors(kind, errors, sum(old.values()), sum(new.values()))


def _count(alignments: Iterable[Alignment], kind: WordKind) -> CounterType[AlignedWord]:
    return Counter(word for alignment in alignments for word in alignment if word.kind == kind)
