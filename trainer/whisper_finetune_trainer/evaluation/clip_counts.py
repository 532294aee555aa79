"""What the metrics count of each clip: errors, or what a translation shares with its reference. Pure.

The figure of a split is computed from the counts of its clips. It is not the mean of their figures, because a clip
weighs as much as it has text. So the counts of each clip are kept, and a bootstrap adds up those of the clips that it
draws.

chrF and BLEU are sacrebleu's, with its settings for English. Its own bootstrap does the same.
"""

import functools
import importlib
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Callable, List, Optional, Protocol, Sequence, Tuple

import jiwer
import numpy as np

#: chrF's settings in sacrebleu: letters up to six in a row, no words, and recall twice as important as precision.
_ORDERS = 6
_BETA = 2
#: BLEU's: words up to four in a row.
_WORD_ORDERS = 4
_PERFECT = 100.0


@dataclass(frozen=True)
class ClipGroups:
    """Which clips belong together, one name for each clip: who speaks there, and which recording it is of.

    A name is empty where it is not known. Without any name the tuple may be empty.
    """

    speakers: Tuple[str, ...] = ()
    recordings: Tuple[str, ...] = ()


#: Of clips that nobody has said anything of.
UNKNOWN = ClipGroups()


@dataclass(frozen=True)
class ClipFigure:
    """How well one clip was heard: a figure of which less is better and 0 is right, and what is shown of it."""

    loss: float
    text: str


class ClipCounts(Protocol):
    """What a metric counts of each clip, so that the figure of any clips together can be computed."""

    @property
    def words(self) -> Tuple[int, ...]:
        """How long each clip's reference is. A clip without a word does not count."""

    @property
    def groups(self) -> ClipGroups:
        """Which of the clips belong together."""

    def in_groups(self, groups: ClipGroups) -> Any:
        """Return the same counts of clips that belong together so."""

    def percent(self, clips: Optional[Sequence[int]] = None) -> float:
        """Return the figure of all clips, or of the clips of these indexes. It is 0 where no reference has a word."""

    def together(self, members: Sequence[Sequence[int]]) -> Any:
        """Return the counts of groups of clips, each as if it were one clip. `members` are indexes of clips."""

    def of_clip(self, clip: int) -> ClipFigure:
        """Return the figure of one clip."""

    def of_draws(self, clips: Any, drawn: Any) -> Any:
        """Return the figure of each draw: `drawn` (draws, n) has positions in `clips`, which are indexes of clips."""

    def difference_of_draws(self, before: Any, clips: Any, drawn: Any) -> Any:
        """Return the figure of each draw less that of the same clips in `before`, which counts the same."""


@dataclass(frozen=True)
class ClipErrors:
    """For each clip the wrong words (substituted, deleted, inserted) and the words of its reference.

    Where the metric is the cer, both count letters.
    """

    errors: Tuple[int, ...]
    words: Tuple[int, ...]
    groups: ClipGroups = UNKNOWN

    def percent(self, clips: Optional[Sequence[int]] = None) -> float:
        """Return the errors per hundred words over all clips, or over the clips of these indexes.

        The rate is 0 where the references have no word.
        """
        chosen = range(len(self.words)) if clips is None else clips
        words = sum(self.words[clip] for clip in chosen)
        return 100.0 * sum(self.errors[clip] for clip in chosen) / words if words else 0.0

    def in_groups(self, groups: ClipGroups) -> "ClipErrors":
        """Return the same counts of clips that belong together so."""
        return replace(self, groups=groups)

    def together(self, members: Sequence[Sequence[int]]) -> "ClipErrors":
        """Return the counts of groups of clips, each as if it were one clip. `members` are indexes of clips."""
        errors = tuple(sum(self.errors[clip] for clip in group) for group in members)
        return ClipErrors(errors, tuple(sum(self.words[clip] for clip in group) for group in members))

    def of_clip(self, clip: int) -> ClipFigure:
        """Return the errors of one clip."""
        return ClipFigure(self.errors[clip], str(self.errors[clip]))

    def of_draws(self, clips: Any, drawn: Any) -> Any:
        """Return the error rate of each draw: `drawn` (draws, n) has positions in `clips`, indexes of clips."""
        errors, words = np.asarray(self.errors)[clips], np.asarray(self.words)[clips]
        return 100.0 * errors[drawn].sum(axis=1) / np.maximum(words[drawn].sum(axis=1), 1)

    def difference_of_draws(self, before: "ClipErrors", clips: Any, drawn: Any) -> Any:
        """Return the error rate of each draw less that of the same clips in `before`."""
        more = tuple(after - other for after, other in zip(self.errors, before.errors))
        return ClipErrors(more, self.words).of_draws(clips, drawn)


@dataclass(frozen=True)
class TranslationCounts:
    """What a figure of translations adds up: one row of counts for each clip."""

    words: Tuple[int, ...]
    counts: Tuple[Tuple[int, ...], ...]
    #: Turns rows of added-up counts (rows, columns) into as many figures.
    figures: Callable[[Any], Any] = field(compare=False)
    groups: ClipGroups = UNKNOWN

    def percent(self, clips: Optional[Sequence[int]] = None) -> float:
        """Return the figure of all clips, or of the clips of these indexes. It is 0 where no reference has a word."""
        chosen = range(len(self.words)) if clips is None else clips
        if not any(self.words[clip] for clip in chosen):
            return 0.0
        return float(self.figures(np.sum([self.counts[clip] for clip in chosen], axis=0, keepdims=True))[0])

    def in_groups(self, groups: ClipGroups) -> "TranslationCounts":
        """Return the same counts of clips that belong together so."""
        return replace(self, groups=groups)

    def together(self, members: Sequence[Sequence[int]]) -> "TranslationCounts":
        """Return the counts of groups of clips, each as if it were one clip. `members` are indexes of clips."""
        words = tuple(sum(self.words[clip] for clip in group) for group in members)
        counts = tuple(tuple(map(sum, zip(*(self.counts[clip] for clip in group)))) for group in members)
        return TranslationCounts(words, counts, self.figures)

    def of_clip(self, clip: int) -> ClipFigure:
        """Return the figure of one clip, and what it lacks of a hundred."""
        found = self.percent([clip])
        return ClipFigure(round(_PERFECT - found, 6), f"{found:.1f}")

    def of_draws(self, clips: Any, drawn: Any) -> Any:
        """Return the figure of each draw: `drawn` (draws, n) has positions in `clips`, which are indexes of clips."""
        draws, positions = len(drawn), len(clips)
        first = np.arange(draws)[:, None] * positions
        times = np.bincount((first + drawn).ravel(), minlength=draws * positions).reshape(draws, positions)
        # Sums of whole numbers are exact in floats, whose matrix product is many times faster.
        return self.figures(times.astype(float) @ np.asarray(self.counts, dtype=float)[clips])

    def difference_of_draws(self, before: Any, clips: Any, drawn: Any) -> Any:
        """Return the figure of each draw less that of the same clips in `before`, which counts the same."""
        return self.of_draws(clips, drawn) - before.of_draws(clips, drawn)


def count_errors(references: Sequence[str], hypotheses: Sequence[str]) -> ClipErrors:
    """Return the wrong words of each clip and the words of its reference. Blank references do not count."""
    # A clip whose reference has no word does not count. jiwer would count whatever was heard there as insertions.
    kept = [index for index, reference in enumerate(references) if reference.strip()]
    errors, words = [0] * len(references), [0] * len(references)
    if kept:
        output = jiwer.process_words([references[index] for index in kept], [hypotheses[index] for index in kept])
        for index, alignment, reference in zip(kept, output.alignments, output.references):
            errors[index] = sum(_cost(chunk) for chunk in alignment)
            words[index] = len(reference)
    return ClipErrors(tuple(errors), tuple(words))


def _cost(chunk: Any) -> int:
    if chunk.type == "equal":
        return 0
    return int(max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx))


def count_chrf(references: Sequence[str], hypotheses: Sequence[str]) -> TranslationCounts:
    """Return the counts of chrF, one row per clip. Clips whose reference is blank do not count."""
    extract = _sacrebleu("metrics.helpers").extract_all_char_ngrams
    return _counted(references, hypotheses, functools.partial(_letter_row, extract), 3 * _ORDERS, _chrf)


def count_bleu(references: Sequence[str], hypotheses: Sequence[str]) -> TranslationCounts:
    """Return the counts of BLEU, one row per clip. Clips whose reference is blank do not count."""
    # The setting concerns the score of a single text, which is not used here. Without it, sacrebleu warns.
    bleu = _sacrebleu("metrics").BLEU(effective_order=True)
    figures = functools.partial(_bleu, bleu.compute_bleu)
    return _counted(references, hypotheses, functools.partial(_word_row, bleu), 2 + 2 * _WORD_ORDERS, figures)


def chrf_signature() -> str:
    """Return how chrF is computed, as sacrebleu writes it for others to repeat."""
    chrf = _sacrebleu("metrics").CHRF()
    # Its signature is known once it has scored something.
    chrf.corpus_score([""], [[""]])
    return str(chrf.get_signature())


def _sacrebleu(module: str) -> Any:
    # It brings XML and terminal libraries, for test sets and commands, that no transcription needs.
    return importlib.import_module(f"sacrebleu.{module}")


def _counted(
    references: Sequence[str],
    hypotheses: Sequence[str],
    row_of: Callable[[str, str], List[int]],
    columns: int,
    figures: Callable[[Any], Any],
) -> TranslationCounts:
    rows = [
        tuple(row_of(reference, heard)) if reference.strip() else (0,) * columns
        for reference, heard in zip(references, hypotheses)
    ]
    return TranslationCounts(tuple(len(reference.split()) for reference in references), tuple(rows), figures)


def _letter_row(extract: Callable[[str, int], List["Counter[str]"]], reference: str, heard: str) -> List[int]:
    """Return for each order how many groups of letters were heard, how many are in the reference, and the shared."""
    row: List[int] = []
    for of_heard, of_reference in zip(extract(heard, _ORDERS), extract(reference, _ORDERS)):
        # What is longer than the reference could not have been right.
        heard_groups = sum(of_heard.values()) if of_reference else 0
        row += [heard_groups, sum(of_reference.values()), sum((of_heard & of_reference).values())]
    return row


def _chrf(sums: Any) -> Any:
    heard, expected, shared = sums[:, 0::3], sums[:, 1::3], sums[:, 2::3]
    counts = (heard > 0) & (expected > 0)
    orders = np.maximum(counts.sum(axis=1), 1)
    precision = np.where(counts, shared / np.maximum(heard, 1), 0.0).sum(axis=1) / orders
    recall = np.where(counts, shared / np.maximum(expected, 1), 0.0).sum(axis=1) / orders
    weighted = _BETA**2 * precision + recall
    return 100.0 * (1 + _BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1.0)


def _word_row(bleu: Any, reference: str, heard: str) -> List[int]:
    found = bleu.sentence_score(heard, [reference])
    return [found.sys_len, found.ref_len, *found.counts, *found.totals]


def _bleu(compute: Callable[..., Any], sums: Any) -> Any:
    return np.array(
        [
            compute(row[2 : 2 + _WORD_ORDERS], row[2 + _WORD_ORDERS :], row[0], row[1], smooth_method="exp").score
            for row in sums.astype(int).tolist()
        ]
    )
