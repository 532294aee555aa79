"""Whether a model is accepted: a table of figures and of what is asked for."""

from __future__ import annotations

import pytest

from whisper_finetune_api.v1alpha1.acceptance import Acceptance, Demand, Judgement, compare_all, judge_model
from whisper_finetune_api.v1alpha1.scores import (
    ClipSubset,
    EvaluationScores,
    EvaluationVerdict,
    Metric,
    Result,
    verdict_of,
)

WER = Metric(name="wer", normalizer="basic")


def result(low: str | None, high: str | None, rest: tuple[str, str] | None = None) -> Result:
    subset = rest and ClipSubset(
        clips=20, baseline="20.00", result="20.00", difference_low=rest[0], difference_high=rest[1]
    )
    return Result(
        wer="20.00", normalized_wer="20.00", difference_low=low, difference_high=high, without_loops=subset or None
    )


def evaluation(name: str, verdict: EvaluationVerdict, low: str | None, high: str | None) -> EvaluationScores:
    return EvaluationScores(name=name, verdict=verdict, difference_low=low, difference_high=high)


def judged(asked: Acceptance, found: Result, *further: EvaluationScores) -> Judgement:
    own, whole = verdict_of(found, None, WER), verdict_of(found, None, WER, further)
    return judge_model(asked, whole, compare_all(found, own, further, WER))


def asks(*demands: Demand, better: bool = False, points: str | None = None) -> Acceptance:
    return Acceptance(require_better=better, max_worse_points=points, evaluations=demands)


BETTER = asks(better=True)
AT_MOST_ONE = asks(points="1.0")
NOT_WORSE = asks(points="0")
BOTH = asks(better=True, points="1")


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
        (NOT_WORSE, result("-9.00", "0.01"), "MayBeWorse", "and acceptance allows 0."),
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
    found_reason = judged(asked, found)
    assert (found_reason.accepted, found_reason.reason) == (reason == "Accepted", reason)
    assert says in found_reason.message
    assert found_reason.accepted == ("latest.json keeps naming the last accepted run" not in found_reason.message)


GOOD = result("-3.00", "-0.50")
TELEPHONE = evaluation("telephone", "Worse", "0.40", "2.10")
SPANISH = evaluation("spanish", "NotShown", "-0.20", "0.80")
LONG_FORM = evaluation("long-form", "NotMeasured", None, None)


@pytest.mark.parametrize(
    ("asked", "further", "reason", "says"),
    [
        # The held-out clips are better, and the run is not.
        (BETTER, (TELEPHONE,), "NotBetter", "the verdict is Mixed"),
        (BETTER, (SPANISH, LONG_FORM), "Accepted", "holds"),
        # What is asked for without a name is asked of every evaluation that is measured.
        (AT_MOST_ONE, (SPANISH, LONG_FORM), "Accepted", "holds"),
        (AT_MOST_ONE, (TELEPHONE, SPANISH), "MayBeWorse", "telephone may be 2.10 points worse"),
        # By its name an evaluation is asked for something else, for more or for less.
        (asks(Demand(name="telephone", max_worse_points="3"), points="1.0"), (TELEPHONE, SPANISH), "Accepted", "holds"),
        (asks(Demand(name="spanish", max_worse_points="0")), (TELEPHONE, SPANISH), "MayBeWorse", "spanish may be 0.80"),
        (asks(Demand(name="spanish", require_better=True)), (SPANISH,), "NotBetter", "spanish is NotShown, and"),
        (asks(Demand(name="held-out", require_better=True)), (TELEPHONE,), "Accepted", "holds"),
        # What is named must be measured.
        (asks(Demand(name="long-form", max_worse_points="1")), (LONG_FORM,), "NotMeasured", "long-form is not"),
        (asks(Demand(name="long-form", max_worse_points="1")), (), "NotMeasured", "long-form is not measured"),
        (asks(Demand(name="long-form", require_better=True), points="0"), (TELEPHONE,), "NotMeasured", "about it; t"),
    ],
)  # fmt: skip
def test_each_evaluation_is_asked_for_what_it_is_named_with(
    asked: Acceptance, further: tuple[EvaluationScores, ...], reason: str, says: str
) -> None:
    found = judged(asked, GOOD, *further)
    assert (found.accepted, found.reason) == (reason == "Accepted", reason)
    assert says in found.message


def test_a_message_names_three_and_counts_the_others() -> None:
    further = [evaluation(f"{'very-long-name-of-an-evaluation-'[:31]}{n}", "Worse", "1.00", "99.00") for n in range(8)]
    found = judged(BOTH, result("1.00", "99.00"), *further)
    assert found.message.count("points worse") == 2
    assert "; 7 more are broken. " in found.message
    assert len(found.message.encode()) < 640


def test_points_are_worse_in_the_direction_of_each_evaluations_own_metric() -> None:
    by_letter = evaluation("japanese", "Better", "-4.00", "-1.00").model_copy(update={"metric": "cer"})
    assert judged(NOT_WORSE, GOOD, by_letter).accepted


def test_where_more_is_better_less_is_worse() -> None:
    chrf = Metric(name="chrf", normalizer="none")
    found = Result(score="40.00", wer="0.00", normalized_wer="0.00", difference_low="-1.50", difference_high="4.00")
    own = verdict_of(found, None, chrf)
    assert judge_model(NOT_WORSE, own, compare_all(found, own, (), chrf)).message.startswith(
        "held-out may be 1.50 points worse than before"
    )
    assert judge_model(asks(points="1.5"), own, compare_all(found, own, (), chrf)).accepted
