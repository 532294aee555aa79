"""What a user asks of a model before it takes the place of the last accepted one, and whether a run's figures hold it.

Pure. The trainer judges, because it writes latest.json. The operator shows what it said as the condition Accepted.
"""

import math
from dataclasses import dataclass
from typing import Dict, List, Literal, Optional, Sequence, Tuple, Union

from pydantic import Field
from typing_extensions import Annotated

from whisper_finetune_api.v1alpha1.api_model import ApiModel, StatusPart, list_map
from whisper_finetune_api.v1alpha1.scores import (
    MOST_EVALUATIONS,
    EvaluationName,
    EvaluationScores,
    EvaluationVerdict,
    Metric,
    Result,
    Verdict,
    kind_of_metric,
)

WorsePoints = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,2})?$", max_length=6)]
#: Why a model is accepted or not. Of several that hold the first one is taken, in this order.
AcceptanceReason = Literal["Accepted", "NotMeasured", "NotBetter", "MayBeWorse"]
#: Names of evaluations that a run has without naming them.
HELD_OUT, LONG_FORM = "held-out", "long-form"
#: The message has room for so many demands that are broken. The figures of all are in the status.
_NAMED = 3
_NARROWS = "or measure on more clips, which narrows the interval"
_ADVICE: Dict[AcceptanceReason, str] = {
    "NotMeasured": "Measure what is asked about, or do not ask about it",
    "NotBetter": f"Train the next one on more clips or for more steps, {_NARROWS}",
    "MayBeWorse": f"Train the next one on more varied clips or with a lower learningRate, {_NARROWS}",
}
_KEPT = "The model stays in its own folder, and latest.json keeps naming the last accepted run"


class Demand(ApiModel):
    """What is asked of one evaluation."""

    name: EvaluationName = Field(description="An evaluation of spec.evaluations, or held-out, or long-form.")
    require_better: bool = Field(default=False, description="Its verdict must be Better.")
    max_worse_points: Optional[WorsePoints] = Field(
        None, description="As in acceptance, for this evaluation alone. Absent: acceptance.maxWorsePoints."
    )

    @property
    def asks_for_something(self) -> bool:
        """Return whether any model could break it."""
        return self.require_better or self.max_worse_points is not None


class Acceptance(ApiModel):
    """What must hold before the run's model takes the place of the last accepted one in latest.json."""

    require_better: bool = Field(default=False, description="The run's verdict must be Better.")
    max_worse_points: Optional[WorsePoints] = Field(
        None,
        description="Percentage points by which the score may be worse than before, in quotes, on the held-out clips "
        "and in each other evaluation. The worse end of the 95 % interval of the difference must not lie beyond. "
        "Absent: it is not asked for.",
    )
    evaluations: Tuple[Demand, ...] = Field(
        (),
        max_length=MOST_EVALUATIONS,
        json_schema_extra=list_map("name"),
        description="What is asked of single evaluations. They must then be measured.",
    )

    @property
    def asks_for_something(self) -> bool:
        """Return whether any model could break it."""
        return self.require_better or self.max_worse_points is not None or bool(self.evaluations)

    def demand_on(self, name: str) -> Demand:
        """Return what is asked of an evaluation, named or not."""
        named = next((each for each in self.evaluations if each.name == name), Demand(name=name))
        if named.max_worse_points is not None:
            return named
        return named.model_copy(update={"max_worse_points": self.max_worse_points})


class Judgement(StatusPart):
    """Whether the model is accepted, and why."""

    accepted: bool = Field(description="Whether all that spec.acceptance asks for holds.")
    reason: Optional[AcceptanceReason] = Field(None, description="None only where a reader does not know the word.")
    message: str = Field("", max_length=1024, description="What broke it, by how much, and what to do.")

    @property
    def known_reason(self) -> str:
        """Return the reason, or what it comes to where this version does not know the word."""
        return self.reason or ("Accepted" if self.accepted else "NotAccepted")


@dataclass(frozen=True)
class Comparison:
    """What one evaluation shows. `worst_points` is the worse end of the interval of the difference.

    It is infinite where there is nothing to compare.
    """

    name: str
    verdict: Union[Verdict, EvaluationVerdict]
    worst_points: float = math.inf


#: What is broken, and in which words.
_Broken = Tuple[AcceptanceReason, str]


def compare_all(
    result: Result, verdict: Verdict, evaluations: Sequence[EvaluationScores], metric: Optional[Metric]
) -> List[Comparison]:
    """Return the comparison of the held-out clips, whose verdict is given, and of each further evaluation.

    A clip that loops must not decide, so of the held-out clips' two intervals the worse one counts.
    """
    losses = [kind_of_metric(metric).loss_interval(*interval) for interval in result.intervals]
    held_out = Comparison(HELD_OUT, verdict, max(high for _, high in losses))
    return [held_out, *(_compare_further(each, metric) for each in evaluations)]


def _compare_further(scores: EvaluationScores, metric: Optional[Metric]) -> Comparison:
    low, high = scores.difference_low, scores.difference_high
    if low is None or high is None:
        return Comparison(scores.name, scores.verdict or "NotMeasured")
    worst = scores.kind(metric).loss_interval(float(low), float(high))[1]
    return Comparison(scores.name, scores.verdict or "NotMeasured", worst)


def judge_model(acceptance: Acceptance, verdict: Verdict, comparisons: Sequence[Comparison]) -> Judgement:
    """Return whether a run's model is accepted: by its verdict, and by what is asked of each evaluation.

    The interval's worse end counts, not the difference itself: what was measured on few clips is not accepted by luck.
    """
    broken: List[_Broken] = []
    if acceptance.require_better and verdict != "Better":
        broken.append(("NotBetter", f"the verdict is {verdict}, and acceptance.requireBetter asks for Better"))
    measured = [each for each in comparisons if each.verdict != "NotMeasured"]
    for each in measured:
        broken += _broken_by(each, acceptance.demand_on(each.name))
    known = {each.name for each in measured}
    broken += [_not_measured(each.name) for each in acceptance.evaluations if each.name not in known]
    if not broken:
        return Judgement(accepted=True, reason="Accepted", message="what spec.acceptance asks for holds")
    broken.sort(key=lambda each: list(_ADVICE).index(each[0]))
    reason, more = broken[0][0], len(broken) - _NAMED
    told = [*(words for _, words in broken[:_NAMED]), *([f"{more} more are broken"] if more > 0 else [])]
    return Judgement(accepted=False, reason=reason, message=f"{'; '.join(told)}. {_KEPT}. {_ADVICE[reason]}")


def _broken_by(compared: Comparison, demand: Demand) -> List[_Broken]:
    if demand.require_better and compared.verdict != "Better":
        return [("NotBetter", f"{compared.name} is {compared.verdict}, and acceptance asks for Better")]
    allowed = demand.max_worse_points
    if allowed is None or compared.worst_points <= float(allowed):
        return []
    if math.isinf(compared.worst_points):
        return [("MayBeWorse", f"{compared.name} has no interval, because its texts have no word to compare")]
    words = (
        f"{compared.name} may be {compared.worst_points:.2f} points worse than before (the worse end of the 95 % "
        f"interval), and acceptance allows {allowed}"
    )
    return [("MayBeWorse", words)]


def _not_measured(name: str) -> _Broken:
    return "NotMeasured", f"{name} is not measured, and acceptance asks about it"
