"""Which words of a text were heard, and as what. Counts as the word error rate does. Pure."""

from dataclasses import dataclass
from typing import Any, Iterator, List, Sequence, Tuple

import jiwer
from typing_extensions import Literal

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
