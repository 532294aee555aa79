"""Whether a model is accepted: a table of figures and of what is asked for."""

from __future__ import annotations

import pytest

from whisper_finetune_api.v1alpha1.acceptance import Acceptance, compare_held_out, judge_model
from whisper_finetune_api.v1alpha1.scores import ClipSubset, Metric, Result, verdict_of


def result(low: str | None, high: str | None, rest: tuple[str, str] | None = None) -> Result:
    subset = rest and ClipSubset(
        clips=20, baseline="20.00", result="20.00", difference_low=rest[0], difference_high=rest[1]
    )
    return Result(
        wer="20.00", normalized_wer="20.00", difference_low=low, difference_high=high, without_loops=subset or None
    )


WER = Metric(name="wer", normalizer="basic")
BETTER = Acceptance(require_better=True)
AT_MOST_ONE = Acceptance(max_worse_points="1.0")
NOT_WORSE = Acceptance(max_worse_points="0")
BOTH = Acceptance(require_better=True, max_worse_points="1")


@pytest.mark.parametrize(
    ("asked", "found", "reason", "says"),
    [
        (BETTER, result("-5.00", "-0.01"), "Accepted", "what spec.acceptance asks for holds"),
        (BETTER, result("-5.00", "0.00"), "NotBetter", "the verdict is NotShown, and acceptance.requireBetter asks"),
        (BETTER, result("0.10", "2.00"), "NotBetter", "the verdict is Worse"),
        (AT_MOST_ONE, result("-5.00", "1.00"), "Accepted", "holds"),
        (AT_MOST_ONE, result("-5.00", "1.01"), "MayBeWorse", "held-out may be 1.01 points worse than before"),
        (AT_MOST_ONE, result("1.50", "2.00"), "MayBeWorse", "held-out may be 2.00 points worse"),
        (NOT_WORSE, result("0.00", "0.00"), "Accepted", "holds"),
        (NOT_WORSE, result("-9.00", "0.01"), "MayBeWorse", "and acceptance.maxWorsePoints allows 0."),
        # One clip that loops before the training, and no more after it, must not hide what happened to the others.
        (AT_MOST_ONE, result("-9.00", "-1.00", rest=("0.20", "1.40")), "MayBeWorse", "may be 1.40 points worse"),
        (AT_MOST_ONE, result(None, None), "MayBeWorse", "held-out has no interval, because its texts have no word"),
        (BOTH, result("-3.00", "2.00"), "NotBetter", "asks for Better; held-out may be 2.00 points worse"),
        (BOTH, result("-3.00", "0.50"), "NotBetter", "the verdict is NotShown"),
        (BOTH, result("-3.00", "-0.50"), "Accepted", "holds"),
    ],
)
def test_a_model_is_accepted_where_what_is_asked_for_holds(
    asked: Acceptance, found: Result, reason: str, says: str
) -> None:
    judged = judge_model(asked, verdict_of(found, None, WER), [compare_held_out(found, WER)])
    assert (judged.accepted, judged.reason) == (reason == "Accepted", reason)
    assert says in judged.message
    assert judged.accepted == ("latest.json keeps naming the last accepted run" not in judged.message)
