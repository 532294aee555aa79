"""Error rates of a whole split, by word or, where texts have no spaces, by letter. Pure."""

from dataclasses import dataclass
from typing import Any, Collection, List, Mapping, Optional, Sequence, Tuple

import jiwer

from whisper_finetune_api.v1alpha1.status import ClipSubset, Metric, WordErrorRate
from whisper_finetune_trainer.data.text.normalizers import LETTER_LANGUAGES, normalize_gently, normalizer_for
from whisper_finetune_trainer.evaluation import intervals
from whisper_finetune_trainer.evaluation.intervals import ClipErrors

#: The status has five digits before the point.
_LARGEST_PERCENT = 99_999.99


@dataclass(frozen=True)
class Measurement:
    """The errors in each clip of a whole split, and the rates in percent that follow from them."""

    #: Words of the texts as they are.
    written: ClipErrors
    #: Words of the normalized texts.
    normalized: ClipErrors
    #: What the metric counts of the normalized texts: their letters in languages without spaces, else their words.
    scored: ClipErrors
    is_by_letter: bool
    #: Places of the clips whose text is a loop, of which nothing counts as heard, and the score if all of it did.
    loops: Tuple[int, ...]
    score_with_loops: float
    #: As the metric counts them: each letter stands alone where letters are counted.
    normalized_references: Tuple[str, ...]

    @property
    def score(self) -> float:
        """Return the metric's own figure."""
        return self.scored.percent()

    @property
    def wer(self) -> float:
        return self.written.percent()

    @property
    def normalized_wer(self) -> float:
        return self.normalized.percent()

    @property
    def cer(self) -> Optional[float]:
        return self.score if self.is_by_letter else None

    @property
    def skipped(self) -> int:
        """Return how many references are empty after normalizing: those clips are in `wer` alone."""
        return sum(not text for text in self.normalized_references)

    def to_report(self) -> WordErrorRate:
        """Return what the status shows."""
        return WordErrorRate(
            score=percent_text(self.score),
            wer=percent_text(self.wer),
            normalized_wer=percent_text(self.normalized_wer),
            cer=None if self.cer is None else percent_text(self.cer),
            looped_clips=len(self.loops) or None,
            score_with_loops=percent_text(self.score_with_loops) if self.loops else None,
        )


def metric(language_code: str, spellings: Mapping[str, str]) -> Metric:
    """Return what the scores of texts in a language are."""
    name = "cer" if language_code in LETTER_LANGUAGES else "wer"
    return Metric.model_validate({"name": name, "normalizer": normalizer_for(language_code, spellings).name})


def measure_texts(
    references: Sequence[str],
    hypotheses: Sequence[str],
    language_code: str,
    spellings: Mapping[str, str],
    loops: Tuple[int, ...] = (),
) -> Measurement:
    """Return the error rates of one text per clip against its reference; nothing of `loops` (places) is heard."""
    normalizer = normalizer_for(language_code, spellings)
    normalized_references = tuple(normalizer.apply(text) for text in references)
    all_heard = [normalizer.apply(text) for text in hypotheses]
    scored = _count(normalized_references, without(all_heard, loops))
    hypotheses = without(hypotheses, loops)
    is_by_letter = language_code in LETTER_LANGUAGES
    return Measurement(
        written=_count(references, hypotheses),
        normalized=_count([*map(normalize_gently, references)], [*map(normalize_gently, hypotheses)])
        if is_by_letter
        else scored,
        scored=scored,
        is_by_letter=is_by_letter,
        loops=loops,
        score_with_loops=_count(normalized_references, all_heard).percent() if loops else scored.percent(),
        normalized_references=normalized_references,
    )


def _count(references: Sequence[str], hypotheses: Sequence[str]) -> ClipErrors:
    # A clip without reference words counts nothing: jiwer would count whatever was heard there as insertions.
    kept = [place for place, reference in enumerate(references) if reference.strip()]
    errors, words = [0] * len(references), [0] * len(references)
    if kept:
        output = jiwer.process_words([references[place] for place in kept], [hypotheses[place] for place in kept])
        for place, alignment, reference in zip(kept, output.alignments, output.references):
            errors[place] = sum(_cost(chunk) for chunk in alignment)
            words[place] = len(reference)
    return ClipErrors(tuple(errors), tuple(words))


def _cost(chunk: Any) -> int:
    if chunk.type == "equal":
        return 0
    return int(max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx))


def without(hypotheses: Sequence[str], loops: Collection[int]) -> List[str]:
    """Return the texts with nothing heard of the clips at the places of loops."""
    return ["" if place in loops else text for place, text in enumerate(hypotheses)]


def unseen(
    before: Measurement,
    after: Measurement,
    train_texts: Collection[str],
    language_code: str,
    spellings: Mapping[str, str],
) -> Optional[ClipSubset]:
    """Return the figures of the clips whose normalized text does not occur in train; None where no word is left."""
    normalizer = normalizer_for(language_code, spellings)
    seen = {normalizer.apply(text) for text in train_texts}
    clips = [place for place, text in enumerate(before.normalized_references) if text and text not in seen]
    return _subset(before, after, clips)


def without_loops(before: Measurement, after: Measurement) -> Optional[ClipSubset]:
    """Return the figures of the clips that loop neither before nor after; None where none loops or no word is left."""
    looped = {*before.loops, *after.loops}
    words = before.scored.words
    return (
        _subset(before, after, [clip for clip in range(len(words)) if words[clip] and clip not in looped])
        if looped
        else None
    )


def _subset(before: Measurement, after: Measurement, clips: Sequence[int]) -> Optional[ClipSubset]:
    interval = intervals.of_difference(before.scored, after.scored, clips)
    if interval is None:
        return None
    return ClipSubset(
        clips=len(clips),
        baseline=percent_text(before.scored.percent(clips)),
        result=percent_text(after.scored.percent(clips)),
        difference_low=points_text(interval.low),
        difference_high=points_text(interval.high),
    )


def percent_text(percent: float) -> str:
    """Return a percentage as the status has it."""
    return f"{min(percent, _LARGEST_PERCENT):.2f}"


def points_text(points: float) -> str:
    """Return a difference of percentages as the status has it, without a negative zero."""
    return f"{max(-_LARGEST_PERCENT, min(points, _LARGEST_PERCENT)) + 0.0:.2f}".replace("-0.00", "0.00")
