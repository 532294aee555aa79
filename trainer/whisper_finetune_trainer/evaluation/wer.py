"""Word error rates of a whole split, and how sure their difference is. Pure."""

from dataclasses import dataclass
from typing import Any, Collection, List, Mapping, Optional, Sequence, Tuple

import jiwer
import numpy as np

from whisper_finetune_api.v1alpha1.status import Metric, UnseenTexts, WordErrorRate
from whisper_finetune_trainer.data.normalizers import LETTER_LANGUAGES, letters, normalizer_for

_RESAMPLES = 10_000
_SEED = 0
#: Bounds the memory of the bootstrap: numbers drawn at a time.
_DRAWS_AT_ONCE = 4_000_000
#: The status has five digits before the point.
_LARGEST_PERCENT = 99_999.99


@dataclass(frozen=True)
class ClipErrors:
    """Wrong words (substituted, deleted, inserted) of each clip's text and the words of its reference, by clip."""

    errors: Tuple[int, ...]
    words: Tuple[int, ...]

    def percent(self, clips: Optional[Sequence[int]] = None) -> float:
        """Return errors per hundred words over all clips, or over those given by place; 0 where there are no words."""
        chosen = range(len(self.words)) if clips is None else clips
        words = sum(self.words[clip] for clip in chosen)
        return 100.0 * sum(self.errors[clip] for clip in chosen) / words if words else 0.0


@dataclass(frozen=True)
class Measurement:
    """Error rates in percent over a whole split."""

    wer: float
    normalized_wer: float
    cer: Optional[float]
    #: Clips whose reference is empty after normalizing: they are in `wer` alone.
    skipped: int
    normalized: ClipErrors
    normalized_references: Tuple[str, ...]

    def to_report(self) -> WordErrorRate:
        """Return what the status shows."""
        cer = None if self.cer is None else percent_text(self.cer)
        return WordErrorRate(wer=percent_text(self.wer), normalized_wer=percent_text(self.normalized_wer), cer=cer)


@dataclass(frozen=True)
class Interval:
    """Ends of a 95 % interval over clips: of a rate in percent, or of a difference in points."""

    low: float
    high: float


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
    normalized = _count(normalized_references, normalized_hypotheses)
    cer = _cer(normalized_references, normalized_hypotheses) if language_code in LETTER_LANGUAGES else None
    return Measurement(
        wer=_count(references, hypotheses).percent(),
        normalized_wer=normalized.percent(),
        cer=cer,
        skipped=sum(not text for text in normalized_references),
        normalized=normalized,
        normalized_references=normalized_references,
    )


def _cer(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    return _count([_spaced(text) for text in references], [_spaced(text) for text in hypotheses]).percent()


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


def difference(before: Measurement, after: Measurement, clips: Optional[Sequence[int]] = None) -> Optional[Interval]:
    """Return the interval of normalized WER after less before: paired bootstrap over clips; None without words.

    Below zero is an improvement. `clips` are places; absent, all.
    """
    change = np.asarray(after.normalized.errors) - np.asarray(before.normalized.errors)
    return _bootstrap(change, before.normalized.words, clips)


def interval(measurement: Measurement, clips: Optional[Sequence[int]] = None) -> Optional[Interval]:
    """Return the interval of a normalized WER: bootstrap over clips, or some by place; None without words."""
    return _bootstrap(np.asarray(measurement.normalized.errors), measurement.normalized.words, clips)


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
    interval = difference(before, after, clips)
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
