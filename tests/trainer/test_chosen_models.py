"""A choice between evaluations flatters no result: made-up trainings without any effect hardly ever claim one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whisper_finetune_api.v1alpha1.scores import (
    EvaluationScores,
    EvaluationVerdict,
    Result,
    Validation,
    Verdict,
    verdict_of,
)
from whisper_finetune_trainer.evaluation import intervals, wer
from whisper_finetune_trainer.evaluation.clip_counts import ClipErrors
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.evaluation.wer import Measurement
from whisper_finetune_trainer.training import training_loop

TRIALS = 300
CLIPS = 200
#: Of a hundred trainings without effect at most so many may claim an improvement.
NOMINAL_PERCENT = 2.5


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_RESAMPLES", 1_000)


class Ears:
    """The errors of an untrained model on one part of the clips, and of models that are no better and no worse."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._words = generator.integers(1, 12, CLIPS)
        self._before = generator.binomial(self._words, 0.25)

    def baseline(self) -> Evaluation:
        return self._evaluation(0, self._before)

    def evaluations(self, count: int) -> list[Evaluation]:
        """Return evaluations in each of which some of the clips are heard anew, as well as before."""
        changed = self._generator.random((count, CLIPS)) < 0.3
        anew = self._generator.binomial(self._words, 0.25, (count, CLIPS))
        errors = np.where(changed, anew, self._before)
        return [self._evaluation(10 * (index + 1), row) for index, row in enumerate(errors)]

    def _evaluation(self, step: int, errors: Any) -> Evaluation:
        scored = ClipErrors(tuple(errors.tolist()), tuple(self._words.tolist()))
        return Evaluation(step, (), Measurement(scored, scored, scored, "wer", (), scored.percent(), ()))


def result_of(baseline: Evaluation, final: Evaluation) -> Result:
    interval = intervals.of_difference(baseline.measurement.scored, final.measurement.scored)
    assert interval is not None
    return Result(
        **final.measurement.to_report().model_dump(),
        difference_low=wer.points_text(interval.low),
        difference_high=wer.points_text(interval.high),
    )


def verdict_of_trial(generator: np.random.Generator, count: int) -> Verdict:
    """Choose by the validation clips and measure on the held-out ones, as the trainer does."""
    validation, held_out = Ears(generator), Ears(generator)
    candidates, heard = validation.evaluations(count), held_out.evaluations(count)
    best = training_loop.best_of(candidates)
    choice = training_loop.describe_choice(validation.baseline(), candidates)
    return verdict_of(result_of(held_out.baseline(), heard[candidates.index(best)]), choice, None)


def verdict_of_flattered_trial(generator: np.random.Generator, count: int) -> Verdict:
    """Choose by the very clips of the result."""
    ears = Ears(generator)
    return verdict_of(result_of(ears.baseline(), training_loop.best_of(ears.evaluations(count))), None, None)


@pytest.mark.slow
def test_trainings_without_effect_claim_none() -> None:
    generator = np.random.default_rng(0)
    claims = {
        count: [verdict_of_trial(generator, count) for _ in range(TRIALS)].count("Better") for count in (1, 4, 10, 20)
    }
    # Each is a sample of its own around what a 95 % interval allows on one side. More evaluations claim no more.
    assert 100 * sum(claims.values()) / (TRIALS * len(claims)) <= NOMINAL_PERCENT, claims
    assert 100 * max(claims.values()) / TRIALS < 2 * NOMINAL_PERCENT, claims


@pytest.mark.slow
def test_a_choice_by_the_clips_of_the_result_would_claim_an_effect() -> None:
    generator = np.random.default_rng(0)
    verdicts = [verdict_of_flattered_trial(generator, 10) for _ in range(TRIALS)]
    assert 100 * verdicts.count("Better") / TRIALS > 4 * NOMINAL_PERCENT


def result(low: str | None, high: str | None) -> Result:
    return Result(wer="20.00", normalized_wer="20.00", difference_low=low, difference_high=high)


def validation(baseline: str, best: str) -> Validation:
    return Validation(clips=40, baseline=baseline, best=best, step=10)


@pytest.mark.parametrize(
    ("measured", "choice", "verdict"),
    [
        (result("-5.00", "-0.01"), None, "Better"),
        (result("-5.00", "-0.01"), validation("30.00", "29.99"), "Better"),
        (result("-5.00", "-0.01"), validation("30.00", "30.00"), "NotShown"),
        (result("-5.00", "0.00"), validation("30.00", "20.00"), "NotShown"),
        (result("0.01", "5.00"), validation("30.00", "20.00"), "Worse"),
        (result(None, None), None, "NotShown"),
    ],
)
def test_the_verdict_is_that_of_the_interval(measured: Result, choice: Validation | None, verdict: Verdict) -> None:
    assert verdict_of(measured, choice, None) == verdict


@pytest.mark.parametrize(
    ("own", "others", "verdict"),
    [
        ("Better", ("Better", "NotShown", "NotMeasured", None), "Better"),
        ("Better", ("NotShown", "Worse"), "Mixed"),
        ("NotShown", ("Better", "Better"), "NotShown"),
        ("NotShown", ("Worse", "NotShown"), "Worse"),
        ("NotShown", ("Worse", "Better"), "Mixed"),
        ("Worse", ("NotShown", None), "Worse"),
        ("Worse", ("Worse",), "Worse"),
        ("Worse", ("Better",), "Mixed"),
    ],
)
def test_further_evaluations_make_no_run_better_and_tell_where_it_is_worse(
    own: Verdict, others: tuple[EvaluationVerdict | None, ...], verdict: Verdict
) -> None:
    ends = {"Better": ("-5.00", "-0.01"), "NotShown": ("-1.00", "1.00"), "Worse": ("0.01", "5.00")}
    further = [EvaluationScores(name=f"set-{number}", verdict=found) for number, found in enumerate(others)]
    assert verdict_of(result(*ends[own]), None, None, further) == verdict
