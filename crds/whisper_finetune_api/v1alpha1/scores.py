"""How good a model is before and after training, and what its run is therefore worth."""

import math
from dataclasses import dataclass
from typing import Any, Dict, Literal, Optional, Sequence, Tuple

from pydantic import Field, model_validator
from typing_extensions import Annotated

from whisper_finetune_api.contract import LATER
from whisper_finetune_api.v1alpha1.api_model import Count, StatusPart

Percent = Annotated[str, Field(pattern=r"^[0-9]{1,5}\.[0-9]{2}$", max_length=8)]
Points = Annotated[str, Field(pattern=r"^-?[0-9]{1,5}\.[0-9]{2}$", max_length=9)]
#: Clips that a figure is of. The held-out ones are the run's result. The best model is chosen by the validation clips.
Part = Literal["HeldOut", "Validation"]
#: What a run is worth, by `verdict_of`. Mixed is for runs that are measured on more than one data set.
Verdict = Literal["Better", "Mixed", "NotShown", "Worse"]
#: What one evaluation of `spec.evaluations` shows, by its interval.
EvaluationVerdict = Literal["Better", "NotShown", "Worse", "NotMeasured"]
EvaluationName = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
#: Those of `spec.evaluations`, and those that a run has without naming them.
MOST_EVALUATIONS = 10


@dataclass(frozen=True)
class MetricKind:
    """What differs between the metrics for whoever compares their scores."""

    #: What a score is, as a sentence names it.
    words: str
    #: What the scores are called together.
    heading: str = "Error rates"
    #: What stands behind a score in a sentence.
    unit: str = " %"
    more_is_better: bool = False
    #: The field with the score under its own name. The field `wer` is of the texts as they are written.
    own_field: Optional[str] = None

    def as_loss(self, score: float) -> float:
        """Return a score, or a difference of two, as a figure of which less is better."""
        return -score if self.more_is_better else score

    def is_better(self, score: Optional[str], than: Optional[str]) -> bool:
        """Say whether a score is better than another one, both as the status has them."""
        return score is not None and than is not None and self.as_loss(float(score)) < self.as_loss(float(than))

    def loss_interval(self, low: float, high: float) -> Tuple[float, float]:
        """Return the ends of a difference's interval so that an improvement lies below zero."""
        return (-high, -low) if self.more_is_better else (low, high)


MetricName = Literal["wer", "cer", "chrf"]
METRIC_KINDS: Dict[MetricName, MetricKind] = {
    "wer": MetricKind("normalized WER"),
    "cer": MetricKind("normalized CER", own_field="cer"),
    "chrf": MetricKind("chrF", heading="Scores", unit="", more_is_better=True, own_field="chrf"),
}
#: Of scores of which nobody says what they are: all of them were error rates.
_UNNAMED = MetricKind("score")


class Metric(StatusPart):
    """What the scores measure."""

    name: MetricName = Field(
        "wer",
        description="wer counts errors in a hundred words, cer in a hundred letters where a language is written "
        "without spaces. chrf is of translations: 100 is perfect, and more is better.",
    )
    normalizer: str = Field(
        max_length=64, description="How texts are normalized before they are compared. Of chrf, sacrebleu's signature."
    )

    @property
    def kind(self) -> MetricKind:
        """What differs between this metric and others."""
        return METRIC_KINDS[self.name]


def kind_of_metric(metric: Optional[Metric]) -> MetricKind:
    """Return the kind of a run's metric. Scores without a metric are error rates."""
    return metric.kind if metric else _UNNAMED


class Validation(StatusPart):
    """How the best model is chosen. The best of many figures is flattering: the run's result is of other clips."""

    clips: Count = Field(description="The validation clips, which are neither trained on nor the result's.")
    baseline: Percent = Field(description="Score before training.")
    best: Optional[Percent] = Field(None, description="Best score after training so far.")
    step: Optional[Count] = Field(None, description="Of the model with the best score.")

    def has_gained(self, metric: Optional[Metric]) -> bool:
        """Say whether the best model is better than the baseline, by the metric of both."""
        return self.best is not None and kind_of_metric(metric).is_better(self.best, self.baseline)


class Mixing(StatusPart):
    """Which mixture of the weights before and after training is taken, by the validation clips."""

    factor: Optional[Annotated[str, Field(pattern=r"^[0-9]\.[0-9]{2}$", max_length=4)]] = Field(
        None,
        description="Part of the way from the weights before training (0.00) to those after it (1.00). Absent: it is a "
        "mean of checkpoints.",
    )
    checkpoints: Optional[Count] = Field(None, description="Of how many checkpoints it is the mean.")
    score: Percent = Field(description="Score of the mixture on the validation clips.")

    def in_words(self) -> str:
        """Return what the weights are, as a phrase."""
        if self.factor is None:
            return f"the weights are the mean of {self.checkpoints} checkpoints"
        return f"the weights are {self.factor} of the way from those before training (0) to those after it (1)"


class WordErrorRate(StatusPart):
    """Scores in percent: over the whole held-out split, or over the validation clips."""

    part: Annotated[Optional[Part], LATER] = Field(None, description="Clips that were measured. Absent: HeldOut.")
    score: Annotated[Optional[Percent], LATER] = Field(
        None, description="The figure that status.metric names, by which runs are compared."
    )
    wer: Percent = Field(description="Word error rate of the texts as they are.")
    normalized_wer: Percent = Field(description="Word error rate after normalizing.")
    cer: Optional[Percent] = Field(
        None, description="Character error rate after normalizing, where texts have no spaces."
    )
    chrf: Annotated[Optional[Percent], LATER] = Field(None, description="chrF of a translation, as it is written.")
    bleu: Annotated[Optional[Percent], LATER] = Field(None, description="BLEU of a translation, as it is written.")
    cut_clips: Annotated[Optional[Count], LATER] = Field(
        None,
        description="Clips whose text ran into the limit of tokens, training.maxLabelTokens or fewer for a short clip.",
    )
    looped_clips: Annotated[Optional[Count], LATER] = Field(
        None,
        description="How many clips have a text that never ends or repeats its end. Nothing of such a text counts"
        " as heard.",
    )
    score_with_loops: Annotated[Optional[Percent], LATER] = Field(
        None, description="The score if every word of those texts counted."
    )

    @model_validator(mode="before")
    @classmethod
    def _find_score(cls, values: Any) -> Any:
        """Take the score of a trainer that reports none yet from what it was."""
        if not isinstance(values, dict) or values.get("score"):
            return values
        known = values.get("cer") or values.get("normalizedWer") or values.get("normalized_wer")
        return {**values, "score": known} if known else values


class ClipSubset(StatusPart):
    """Scores over some of the held-out clips."""

    clips: Count = Field(description="How many such clips there are.")
    baseline: Percent = Field(description="Score before training.")
    result: Percent = Field(description="Score after training.")
    difference_low: Points = Field(description="Lower end of the 95 % interval of the result less the baseline.")
    difference_high: Points = Field(description="Upper end of the same interval.")


DrawnUnit = Literal["Clips", "Speakers", "Recordings"]


class DrawnUnits(StatusPart):
    """What the intervals are drawn from, where it is more than single clips."""

    unit: DrawnUnit = Field(description="Whole speakers, or whole recordings.")
    units: Count = Field(description="How many of them there are.")


class Result(WordErrorRate):
    """Scores after training. Below zero the difference is an improvement, with chrf above."""

    difference_low: Optional[Points] = Field(
        None,
        description="Lower end of the 95 % interval of the score after training less the score before (paired "
        "bootstrap).",
    )
    difference_high: Optional[Points] = Field(None, description="Upper end of the same interval.")
    unseen_texts: Optional[ClipSubset] = Field(
        None, description="The scores of those clips alone whose text does not occur in train."
    )
    without_loops: Annotated[Optional[ClipSubset], LATER] = Field(
        None, description="The scores without the clips whose text loops before or after training."
    )
    drawn: Annotated[Optional[DrawnUnits], LATER] = Field(
        None, description="What the bootstrap draws for the intervals. Absent: single clips."
    )
    speakers: Annotated[Optional[Count], LATER] = Field(
        None, description="Speakers of the held-out clips, where they are so few that it holds for these alone."
    )

    @property
    def interval_over(self) -> str:
        """What the interval is drawn from, in words, and for whom it holds where that is not for everybody."""
        over = f"{self.drawn.units} {self.drawn.unit.lower()}" if self.drawn else "clips"
        few = {None: "", 1: " of one speaker, for whom alone it holds"}
        return over + few.get(self.speakers, f" of {self.speakers} speakers, for whom alone it holds")

    @property
    def may_be_chance(self) -> bool:
        """Say whether an interval of the difference holds zero: that of all clips, or of those that never loop."""
        return any(low <= 0 <= high for low, high in self.intervals)

    @property
    def intervals(self) -> Tuple[Tuple[float, float], ...]:
        """The intervals of the difference in points: of all clips, and of those that never loop where some do.

        Where nothing can be compared, the interval has no ends.
        """
        if self.difference_low is None or self.difference_high is None:
            return ((-math.inf, math.inf),)
        rest = self.without_loops
        of_rest = ((float(rest.difference_low), float(rest.difference_high)),) if rest else ()
        return ((float(self.difference_low), float(self.difference_high)), *of_rest)

    def compared_with(self, before: Optional[WordErrorRate], metric: Optional[Metric]) -> str:
        """Return the scores before and after in words. A model that became worse is called so."""
        kind = kind_of_metric(metric)
        if before is None or before.score is None or self.score is None:
            return f"{kind.words} {self.score}{kind.unit}, not measured before"
        worse = ", worse than before" if kind.is_better(before.score, self.score) else ""
        return f"{kind.words} {before.score} -> {self.score}{kind.unit}{worse}"


Seconds = Annotated[str, Field(pattern=r"^[0-9]{1,4}\.[0-9]{2}$", max_length=7)]


class JoinedScores(StatusPart):
    """The recordings that held-out clips were joined to, and how well the model's timestamps fit them.

    A boundary is where a clip begins or ends. It is found where a segment of the model begins or ends with the clip's
    first or last word.
    """

    recordings: Count = Field(description="How many recordings there are.")
    seconds: Count = Field(description="How long they are together.")
    boundaries: Count = Field(description="Beginnings and ends of the joined clips.")
    baseline_found: Count = Field(description="How many of them had a timestamp before training.")
    result_found: Optional[Count] = Field(None, description="How many of them had a timestamp after training.")
    baseline_seconds: Optional[Seconds] = Field(
        None, description="Median of how far those timestamps were off before training, in seconds."
    )
    result_seconds: Optional[Seconds] = Field(None, description="The same after training.")

    def in_words(self) -> str:
        """Return in words how many boundaries were found before and after, and how well."""
        before = _found_in_words(self.baseline_found, self.baseline_seconds)
        after = "" if self.result_found is None else _found_in_words(self.result_found, self.result_seconds)
        return f"of {self.boundaries} boundaries {before} before{after and f', {after} after'}"


def _found_in_words(found: int, seconds: Optional[str]) -> str:
    return f"{found} found" if seconds is None else f"{found} found (median error {seconds} s)"


class EvaluationScores(StatusPart):
    """One evaluation beside the held-out clips: its scores, and what they show."""

    name: EvaluationName = Field(description="Its name, as in spec.evaluations.")
    verdict: Optional[EvaluationVerdict] = Field(
        None, description="What its interval shows. Absent: it is not measured after the training yet."
    )
    reason: Optional[str] = Field(None, max_length=160, description="Why it is not measured, with NotMeasured.")
    clips: Optional[Count] = Field(None, description="How many clips are measured.")
    copies: Optional[Count] = Field(None, description="How many of them have a sound that is trained on. Absent: none.")
    metric: Optional[MetricName] = Field(None, description="What its scores are. Absent: what status.metric names.")
    language: Optional[str] = Field(None, max_length=24, description="Language of the speech. Absent: the run's.")
    baseline: Optional[Percent] = Field(None, description="Score before training.")
    result: Optional[Percent] = Field(None, description="Score after training.")
    difference_low: Optional[Points] = Field(
        None, description="Lower end of the 95 % interval of the result less the baseline."
    )
    difference_high: Optional[Points] = Field(None, description="Upper end of the same interval.")
    drawn: Annotated[Optional[DrawnUnits], LATER] = Field(None, description="As in result.")
    speakers: Annotated[Optional[Count], LATER] = Field(None, description="As in result.")
    recordings: Optional[JoinedScores] = Field(None, description="Only of long-form: what is joined, and timestamps.")

    def kind(self, metric: Optional[Metric]) -> MetricKind:
        """What differs between its metric and others. `metric` is the run's."""
        return METRIC_KINDS[self.metric] if self.metric else kind_of_metric(metric)

    def in_words(self, metric: Optional[Metric]) -> str:
        """Return its name with the scores before and after, as a message names it. `metric` is the run's."""
        return f"{self.name} {self.baseline} -> {self.result}{self.kind(metric).unit}"


def verdict_of(
    result: Result,
    validation: Optional[Validation],
    metric: Optional[Metric],
    evaluations: Sequence[EvaluationScores] = (),
) -> Verdict:
    """Return what a run is worth, by the held-out clips and by the other evaluations.

    Some evaluation is better in many runs by chance alone, because there are several. So none of them makes a run
    Better: the held-out clips alone do. But one that is worse is told, in every run: as Mixed where anything is better,
    as Worse where nothing is.
    """
    own = _shown_by(result, validation, metric)
    shown = {own, *(evaluation.verdict for evaluation in evaluations)}
    if "Worse" not in shown:
        return own
    return "Mixed" if "Better" in shown else "Worse"


def _shown_by(
    result: Result, validation: Optional[Validation], metric: Optional[Metric]
) -> Literal["Better", "NotShown", "Worse"]:
    """Return what the held-out clips show: Worse, Better, or NotShown where chance may explain the difference.

    Better asks for more: where the best model was chosen, it must be better than the baseline on the validation clips
    too. The baseline is a candidate like the evaluations after it.
    """
    losses = [kind_of_metric(metric).loss_interval(*interval) for interval in result.intervals]
    if all(low > 0 for low, _ in losses):
        return "Worse"
    is_better = all(high < 0 for _, high in losses)
    return "Better" if is_better and (validation is None or validation.has_gained(metric)) else "NotShown"
