"""Error rates of a whole split: by word, or by letter in languages without spaces. Pure.

Whisper may fall into a loop and go on until a limit stops it: hundreds of words for a clip of one word. A machine that
rounds differently may not loop on the same clip. An error rate must not depend on that. So nothing of a loop counts as
heard: the words of the reference are missed, and no word is inserted.
"""

import math
from dataclasses import dataclass
from typing import Any, Collection, List, Mapping, Optional, Sequence, Tuple

import jiwer

from whisper_finetune_api.v1alpha1.scores import METRIC_KINDS, ClipSubset, Metric, MetricKind, MetricName, WordErrorRate
from whisper_finetune_trainer.data.text_rules import LETTER_LANGUAGES, normalize_gently, normalizer_for
from whisper_finetune_trainer.evaluation import intervals
from whisper_finetune_trainer.evaluation.intervals import ClipErrors
from whisper_finetune_trainer.model.generation import Transcript

#: A figure of the status has at most five digits before the point.
_LARGEST_PERCENT = 99_999.99


@dataclass(frozen=True)
class Measurement:
    """The errors of each clip of a split. The properties are the rates of the whole split, in percent."""

    #: Counts words of the texts as they are written.
    written: ClipErrors
    #: Counts words of the normalized texts.
    normalized: ClipErrors
    #: Counts what the metric counts of the normalized texts: letters in languages without spaces, else words.
    scored: ClipErrors
    metric: MetricName
    #: Indexes of the clips whose text is a loop, so that nothing counts as heard. `score_with_loops` counts all of it.
    loops: Tuple[int, ...]
    score_with_loops: float
    #: Where letters are counted, they are separated by spaces.
    normalized_references: Tuple[str, ...]

    @property
    def score(self) -> float:
        """The figure of the metric, which is the cer or the normalized wer."""
        return self.scored.percent()

    @property
    def kind(self) -> MetricKind:
        return METRIC_KINDS[self.metric]

    @property
    def loss(self) -> float:
        """The score as a figure of which less is better."""
        return self.kind.as_loss(self.score)

    @property
    def wer(self) -> float:
        return self.written.percent()

    @property
    def normalized_wer(self) -> float:
        return self.normalized.percent()

    @property
    def cer(self) -> Optional[float]:
        return self.score if self.metric == "cer" else None

    @property
    def skipped(self) -> int:
        """How many references are empty after normalizing. Their clips count in `wer` only."""
        return sum(not text for text in self.normalized_references)

    def to_report(self) -> WordErrorRate:
        """Return the figures as the status shows them."""
        return WordErrorRate(
            score=percent_text(self.score),
            wer=percent_text(self.wer),
            normalized_wer=percent_text(self.normalized_wer),
            cer=None if self.cer is None else percent_text(self.cer),
            looped_clips=len(self.loops) or None,
            score_with_loops=percent_text(self.score_with_loops) if self.loops else None,
        )


def metric(language_code: str, spellings: Mapping[str, str]) -> Metric:
    """Return the name of the metric for a language, wer or cer, and of its normalizer."""
    return Metric(name=_metric_name(language_code), normalizer=normalizer_for(language_code, spellings).name)


def _metric_name(language_code: str) -> MetricName:
    return "cer" if language_code in LETTER_LANGUAGES else "wer"


def measure_texts(
    references: Sequence[str],
    hypotheses: Sequence[str],
    language_code: str,
    spellings: Mapping[str, str],
    loops: Tuple[int, ...] = (),
) -> Measurement:
    """Return the errors of the hypotheses, one per clip, against their references.

    `loops` are the indexes of the clips of which nothing counts as heard. `spellings` turns British spellings into
    American ones, and is used for English only.
    """
    normalizer = normalizer_for(language_code, spellings)
    normalized_references = tuple(normalizer.apply(text) for text in references)
    all_heard = [normalizer.apply(text) for text in hypotheses]
    scored = _count(normalized_references, without(all_heard, loops))
    hypotheses = without(hypotheses, loops)
    name = _metric_name(language_code)
    return Measurement(
        written=_count(references, hypotheses),
        normalized=_count([*map(normalize_gently, references)], [*map(normalize_gently, hypotheses)])
        if name == "cer"
        else scored,
        scored=scored,
        metric=name,
        loops=loops,
        score_with_loops=_count(normalized_references, all_heard).percent() if loops else scored.percent(),
        normalized_references=normalized_references,
    )


def _count(references: Sequence[str], hypotheses: Sequence[str]) -> ClipErrors:
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


def without(hypotheses: Sequence[str], loops: Collection[int]) -> List[str]:
    """Return the texts, empty at the indexes of loops."""
    return ["" if index in loops else text for index, text in enumerate(hypotheses)]


def unseen(
    before: Measurement,
    after: Measurement,
    train_texts: Collection[str],
    language_code: str,
    spellings: Mapping[str, str],
) -> Optional[ClipSubset]:
    """Return the figures of the clips whose normalized text is not one of `train_texts`.

    Return None where such clips have no word.
    """
    normalizer = normalizer_for(language_code, spellings)
    seen = {normalizer.apply(text) for text in train_texts}
    clips = [index for index, text in enumerate(before.normalized_references) if text and text not in seen]
    return _subset(before, after, clips)


def without_loops(before: Measurement, after: Measurement) -> Optional[ClipSubset]:
    """Return the figures of the clips that loop neither before nor after training.

    Return None where no clip loops, or where the other clips have no word.
    """
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
    """Return a percentage with two decimals, as the status has it."""
    return f"{min(percent, _LARGEST_PERCENT):.2f}"


def points_text(points: float) -> str:
    """Return a difference in percentage points with two decimals, as the status has it. Zero has no sign."""
    return f"{max(-_LARGEST_PERCENT, min(points, _LARGEST_PERCENT)) + 0.0:.2f}".replace("-0.00", "0.00")


#: How often a loop repeats its end at least, and how many letters the repetitions have together at least.
_REPEATS = 5
_REPEATED_LETTERS = 20


def find_loops(references: Sequence[str], heard: Sequence[Transcript]) -> Tuple[int, ...]:
    """Return the indexes of the clips whose text is a loop.

    A loop was cut, or it repeats its end and the reference does not.
    """
    return tuple(
        index
        for index, (reference, found) in enumerate(zip(references, heard))
        if found.is_cut or (_repeats_its_end(found.text) and not _repeats_its_end(reference))
    )


def _repeats_its_end(text: str) -> bool:
    spoken = normalize_gently(text)
    lengths = range(math.ceil(_REPEATED_LETTERS / _REPEATS), len(spoken) // _REPEATS + 1)
    return any(spoken.endswith(spoken[-length:] * _REPEATS) for length in lengths)
