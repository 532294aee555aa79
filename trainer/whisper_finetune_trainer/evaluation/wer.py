"""Word error rates of a whole split. Pure."""

from dataclasses import dataclass
from typing import Any, Collection, Mapping, Optional, Sequence, Tuple

import jiwer

from whisper_finetune_api.v1alpha1.status import Metric, UnseenTexts, WordErrorRate
from whisper_finetune_trainer.data.normalizers import LETTER_LANGUAGES, letters, normalizer_for
from whisper_finetune_trainer.evaluation import intervals
from whisper_finetune_trainer.evaluation.intervals import ClipErrors

#: The status has five digits before the point.
_LARGEST_PERCENT = 99_999.99


@dataclass(frozen=True)
class Measurement:
    """The errors in each clip of a whole split, and the rates in percent that follow from them."""

    #: Of the texts as they are.
    written: ClipErrors
    normalized: ClipErrors
    #: Of the normalized texts, letter by letter; None for languages that are written with spaces.
    letters: Optional[ClipErrors]
    normalized_references: Tuple[str, ...]

    @property
    def wer(self) -> float:
        return self.written.percent()

    @property
    def normalized_wer(self) -> float:
        return self.normalized.percent()

    @property
    def cer(self) -> Optional[float]:
        return self.letters.percent() if self.letters else None

    @property
    def skipped(self) -> int:
        """Return how many references are empty after normalizing: those clips are in `wer` alone."""
        return sum(not text for text in self.normalized_references)

    def to_report(self) -> WordErrorRate:
        """Return what the status shows."""
        cer = None if self.cer is None else percent_text(self.cer)
        return WordErrorRate(wer=percent_text(self.wer), normalized_wer=percent_text(self.normalized_wer), cer=cer)


def metric(language_code: str, spellings: Mapping[str, str]) -> Metric:
    """Return what the figures of a language are."""
    name = "cer" if language_code in LETTER_LANGUAGES else "wer"
    return Metric.model_validate({"name": name, "normalizer": normalizer_for(language_code, spellings).name})


def measure(
    references: Sequence[str], hypotheses: Sequence[str], language_code: str, spellings: Mapping[str, str]
) -> Measurement:
    """Return the error rates of one text per clip against its reference."""
    normalizer = normalizer_for(language_code, spellings)
    normalized_references = tuple(normalizer.apply(text) for text in references)
    normalized_hypotheses = [normalizer.apply(text) for text in hypotheses]
    return Measurement(
        written=_count(references, hypotheses),
        normalized=_count(normalized_references, normalized_hypotheses),
        letters=_count_letters(normalized_references, normalized_hypotheses)
        if language_code in LETTER_LANGUAGES
        else None,
        normalized_references=normalized_references,
    )


def _count_letters(references: Sequence[str], hypotheses: Sequence[str]) -> ClipErrors:
    return _count([_spaced(text) for text in references], [_spaced(text) for text in hypotheses])


def _spaced(text: str) -> str:
    return " ".join(letters(text))


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


def unseen(
    before: Measurement,
    after: Measurement,
    train_texts: Collection[str],
    language_code: str,
    spellings: Mapping[str, str],
) -> Optional[UnseenTexts]:
    """Return the figures of the clips whose normalized text does not occur in train; None where no word is left."""
    normalizer = normalizer_for(language_code, spellings)
    seen = {normalizer.apply(text) for text in train_texts}
    clips = [place for place, text in enumerate(before.normalized_references) if text and text not in seen]
    interval = intervals.of_difference(before.normalized, after.normalized, clips)
    if interval is None:
        return None
    return UnseenTexts(
        clips=len(clips),
        baseline=percent_text(before.normalized.percent(clips)),
        result=percent_text(after.normalized.percent(clips)),
        difference_low=points_text(interval.low),
        difference_high=points_text(interval.high),
    )


def percent_text(percent: float) -> str:
    """Return a percentage as the status has it."""
    return f"{min(percent, _LARGEST_PERCENT):.2f}"


def points_text(points: float) -> str:
    """Return a difference of percentages as the status has it, without a negative zero."""
    return f"{max(-_LARGEST_PERCENT, min(points, _LARGEST_PERCENT)) + 0.0:.2f}".replace("-0.00", "0.00")
