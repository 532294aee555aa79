"""Scores of a whole split: errors by word, or by letter in languages without spaces, and chrF of translations. Pure.

Whisper may fall into a loop and go on until a limit stops it: hundreds of words for a clip of one word. A machine that
rounds differently may not loop on the same clip. A score must not depend on that. So nothing of a loop counts as heard:
the words of the reference are missed, and no word is inserted.
"""

import math
from dataclasses import dataclass
from typing import Callable, Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_api.v1alpha1.dataset import Task
from whisper_finetune_api.v1alpha1.scores import METRIC_KINDS, ClipSubset, Metric, MetricKind, MetricName, WordErrorRate
from whisper_finetune_trainer.data.text_rules import LETTER_LANGUAGES, normalize_gently, normalizer_for
from whisper_finetune_trainer.evaluation import clip_counts, intervals
from whisper_finetune_trainer.evaluation.clip_counts import UNKNOWN, ClipCounts, ClipErrors, ClipGroups, count_errors
from whisper_finetune_trainer.model.generation import Transcript

#: A figure of the status has at most five digits before the point.
_LARGEST_PERCENT = 99_999.99


@dataclass(frozen=True)
class Measurement:
    """What was counted of each clip of a split. The properties are the figures of the whole split."""

    #: Counts words of the texts as they are written.
    written: ClipErrors
    #: Counts words of the normalized texts.
    normalized: ClipCounts
    #: Counts what the metric counts: words of the normalized texts, letters in languages without spaces, and in
    #: translations letters in a row.
    scored: ClipCounts
    metric: MetricName
    #: Indexes of the clips whose text is a loop, so that nothing counts as heard. `score_with_loops` counts all of it.
    loops: Tuple[int, ...]
    score_with_loops: float
    #: Where letters are counted, they are separated by spaces.
    normalized_references: Tuple[str, ...]
    #: What BLEU counts of translations.
    bleu: Optional[ClipCounts] = None

    @property
    def kind(self) -> MetricKind:
        return METRIC_KINDS[self.metric]

    @property
    def score(self) -> float:
        """The figure of the metric: the cer, the normalized wer, or chrF."""
        return self.scored.percent()

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
    def skipped(self) -> int:
        """How many references are empty after normalizing. Their clips count in `wer` only."""
        return sum(not text for text in self.normalized_references)

    def figures(self) -> Dict[str, float]:
        """Return all figures by the names of their fields."""
        found = {"score": self.score, "wer": self.wer, "normalized_wer": self.normalized_wer}
        if self.kind.own_field:
            found[self.kind.own_field] = self.score
        if self.bleu is not None:
            found["bleu"] = self.bleu.percent()
        return found

    def to_report(self) -> WordErrorRate:
        """Return the figures as the status shows them."""
        loops = {"looped_clips": len(self.loops), "score_with_loops": percent_text(self.score_with_loops)}
        return WordErrorRate.model_validate(
            {**{name: percent_text(figure) for name, figure in self.figures().items()}, **(loops if self.loops else {})}
        )


def metric(language_code: str, spellings: Mapping[str, str], task: Task = "transcribe") -> Metric:
    """Return the metric for a task and the language of its texts, with the name of its normalizer."""
    name = _metric_name(language_code, task)
    return Metric(name=name, normalizer=_COUNTING[name].normalizer(language_code, spellings))


def _metric_name(language_code: str, task: Task) -> MetricName:
    if task == "translate":
        return "chrf"
    return "cer" if language_code in LETTER_LANGUAGES else "wer"


class _Texts(NamedTuple):
    """References and what was heard, one per clip: as they are written, and normalized."""

    references: Sequence[str]
    heard: Sequence[str]
    normalized_references: Sequence[str]
    normalized_heard: Sequence[str]

    def without(self, loops: Collection[int]) -> "_Texts":
        """Return the same without what was heard as a loop."""
        heard, normalized = without(self.heard, loops), without(self.normalized_heard, loops)
        return self._replace(heard=heard, normalized_heard=normalized)


def measure_texts(
    references: Sequence[str],
    hypotheses: Sequence[str],
    language_code: str,
    spellings: Mapping[str, str],
    loops: Tuple[int, ...] = (),
    task: Task = "transcribe",
    groups: ClipGroups = UNKNOWN,
) -> Measurement:
    """Return what counts of the hypotheses, one per clip, against their references.

    `groups` says which clips belong together. `loops` are the indexes of the clips of which nothing counts as heard.
    `spellings` turns British spellings into American ones, and is used for English only.
    """
    normalize = normalizer_for(language_code, spellings).apply
    name = _metric_name(language_code, task)
    counting = _COUNTING[name]
    everything = _Texts(references, hypotheses, [*map(normalize, references)], [*map(normalize, hypotheses)])
    texts = everything.without(loops)
    scored = counting.score(texts).in_groups(groups)
    return Measurement(
        written=count_errors(references, texts.heard).in_groups(groups),
        normalized=counting.words(texts).in_groups(groups) if counting.words else scored,
        scored=scored,
        metric=name,
        loops=loops,
        score_with_loops=(counting.score(everything) if loops else scored).percent(),
        normalized_references=tuple(texts.normalized_references),
        bleu=counting.bleu(texts).in_groups(groups) if counting.bleu else None,
    )


def _count_normalized(texts: _Texts) -> ClipErrors:
    return count_errors(texts.normalized_references, texts.normalized_heard)


def _count_gently(texts: _Texts) -> ClipErrors:
    return count_errors([*map(normalize_gently, texts.references)], [*map(normalize_gently, texts.heard)])


class _Counting(NamedTuple):
    """What is counted of the texts for one metric."""

    score: Callable[[_Texts], ClipCounts]
    #: Returns how texts of a language with these spellings are normalized.
    normalizer: Callable[[str, Mapping[str, str]], str] = lambda *language: normalizer_for(*language).name
    #: The words of normalized texts. None: the score is of them already.
    words: Optional[Callable[[_Texts], ClipCounts]] = None
    bleu: Optional[Callable[[_Texts], ClipCounts]] = None


_COUNTING: Dict[MetricName, _Counting] = {
    "wer": _Counting(_count_normalized),
    "cer": _Counting(_count_normalized, words=_count_gently),
    "chrf": _Counting(
        lambda texts: clip_counts.count_chrf(texts.references, texts.heard),
        words=_count_normalized,
        bleu=lambda texts: clip_counts.count_bleu(texts.references, texts.heard),
        normalizer=lambda *_: clip_counts.chrf_signature(),
    ),
}


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
        if found.is_cut or is_loop(found.text, [reference])
    )


def is_loop(heard: str, references: Sequence[str]) -> bool:
    """Return whether a text repeats its end, and none of the references does."""
    return _repeats_its_end(heard) and not any(map(_repeats_its_end, references))


def _repeats_its_end(text: str) -> bool:
    spoken = normalize_gently(text)
    lengths = range(math.ceil(_REPEATED_LETTERS / _REPEATS), len(spoken) // _REPEATS + 1)
    return any(spoken.endswith(spoken[-length:] * _REPEATS) for length in lengths)
