"""What a user asks of a model before it takes the place of the last accepted one, and whether a run's figures hold it.

Pure. The trainer judges, because it writes latest.json. The operator shows what it said as the condition Accepted.
"""

import math
from dataclasses import dataclass
from typing import Dict, List, Literal, Optional, Sequence, Tuple

from pydantic import Field
from typing_extensions import Annotated

from whisper_finetune_api.v1alpha1.api_model import ApiModel, StatusPart
from whisper_finetune_api.v1alpha1.scores import Metric, Result, Verdict, kind_of_metric

WorsePoints = Annotated[str, Field(pattern=r"^[0-9]{1,3}(\.[0-9]{1,2})?$", max_length=6)]
#: Why a model is accepted or not. Of several that hold the first one is taken, in this order.
AcceptanceReason = Literal["Accepted", "NotBetter", "MayBeWorse"]
#: The held-out clips' name among a run's evaluations.
HELD_OUT = "held-out"
_ADVICE: Dict[AcceptanceReason, str] = {
    "NotBetter": "train on more clips or for more steps, or measure on more clips, which narrows the interval",
    "MayBeWorse": (
        "train on more varied clips or with a lower learningRate, or measure on more clips, which narrows the interval"
    ),
}
_KEPT = "The model stays in its own folder, and latest.json keeps naming the last accepted run"


class Acceptance(ApiModel):
    """What must hold before the run's model takes the place of the last accepted one in latest.json."""

    require_better: bool = Field(default=False, description="The run's verdict must be Better.")
    max_worse_points: Optional[WorsePoints] = Field(
        None,
        description="Percentage points by which the score may be worse than before, in quotes. The worse end of the "
        "95 % interval of the difference must not lie beyond. Absent: it is not asked for.",
    )

    @property
    def asks_for_something(self) -> bool:
        """Return whether any model could break it."""
        return self.require_better or self.max_worse_points is not None


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
    """One evaluation before and after training. `worst_points` are the worse end of the interval of the difference.

    They are infinite where there is nothing to compare.
    """

    name: str
    worst_points: float


def compare_held_out(result: Result, metric: Optional[Metric]) -> Comparison:
    """Return the comparison of the held-out clips. A clip that loops must not decide, so the worse interval counts."""
    losses = [kind_of_metric(metric).loss_interval(*interval) for interval in result.intervals]
    return Comparison(HELD_OUT, max(high for _, high in losses))


def judge_model(acceptance: Acceptance, verdict: Verdict, comparisons: Sequence[Comparison]) -> Judgement:
    """Return whether a run's model is accepted: by its verdict, and by each comparison of one evaluation.

    The interval's worse end counts, not the difference itself: what was measured on few clips is not accepted by luck.
    """
    broken: List[Tuple[AcceptanceReason, str]] = []
    if acceptance.require_better and verdict != "Better":
        broken.append(("NotBetter", f"the verdict is {verdict}, and acceptance.requireBetter asks for Better"))
    allowed = acceptance.max_worse_points
    if allowed is not None:
        too_bad = [each for each in comparisons if each.worst_points > float(allowed)]
        broken += [("MayBeWorse", _may_be_worse(each, allowed)) for each in too_bad]
    if not broken:
        return Judgement(accepted=True, reason="Accepted", message="what spec.acceptance asks for holds")
    reason = broken[0][0]
    told = "; ".join(words for _, words in broken)
    return Judgement(accepted=False, reason=reason, message=f"{told}. {_KEPT}. For another model {_ADVICE[reason]}")


def _may_be_worse(compared: Comparison, allowed: str) -> str:
    if math.isinf(compared.worst_points):
        return f"{compared.name} has no interval, because its texts have no word to compare"
    return (
        f"{compared.name} may be {compared.worst_points:.2f} points worse than before (the worse end of the 95 % "
        f"interval), and acceptance.maxWorsePoints allows {allowed}"
    )
