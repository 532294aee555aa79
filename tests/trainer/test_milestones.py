"""When a run evaluates and saves, which evaluation is the best, and when patience ends the run."""

from __future__ import annotations

import pytest

from whisper_finetune_api.run import Schedule
from whisper_finetune_trainer.evaluation.clip_counts import ClipErrors
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.evaluation.wer import Measurement
from whisper_finetune_trainer.training import training_loop


def make_schedule(steps: int, eval_every: int | None = None, save_every: int | None = None) -> Schedule:
    return Schedule(
        replicas=1,
        steps=steps,
        warmup_steps=0,
        learning_rate=1,
        micro_batch_size=1,
        gradient_accumulation_steps=1,
        eval_every_steps=eval_every,
        save_every_steps=save_every,
    )


def history(*scores: float) -> list[Evaluation]:
    """Return evaluations at steps 10, 20, ... with these scores."""
    return [Evaluation(10 * (place + 1), (), measurement(score)) for place, score in enumerate(scores)]


def measurement(score: float) -> Measurement:
    return Measurement(
        written=ClipErrors((), ()),
        normalized=ClipErrors((), ()),
        scored=ClipErrors((round(100 * score),), (10_000,)),
        metric="wer",
        loops=(),
        score_with_loops=score,
        normalized_references=("",),
    )


@pytest.mark.parametrize(
    ("schedule", "evaluated", "saved"),
    [
        (make_schedule(10), [10], []),
        (make_schedule(10, eval_every=4), [4, 8, 10], []),
        (make_schedule(10, eval_every=5, save_every=2), [5, 10], [2, 4, 6, 8, 10]),
        (make_schedule(3, eval_every=3), [3], []),
    ],
)
def test_milestones_of_a_schedule(schedule: Schedule, evaluated: list[int], saved: list[int]) -> None:
    every_step = range(schedule.steps + 1)
    assert [step for step in every_step if training_loop.is_evaluation_due(schedule, step)] == evaluated
    assert [step for step in every_step if training_loop.is_checkpoint_due(schedule, step)] == saved
    assert list(training_loop.evaluation_steps(schedule, schedule.steps)) == evaluated
    assert list(training_loop.evaluation_steps(schedule, schedule.steps - 1)) == evaluated[:-1]


def test_the_best_is_the_earliest_of_the_lowest() -> None:
    assert training_loop.best_of(history(30.0, 20.0, 25.0, 20.0)).step == 20


@pytest.mark.parametrize(
    ("wers", "patience", "exhausted"),
    [
        ((), 1, False),
        ((30.0,), 1, False),
        ((30.0, 31.0), 1, True),
        ((30.0, 30.0), 1, True),
        ((30.0, 29.0), 1, False),
        ((30.0, 31.0, 29.0), 2, False),
        ((30.0, 31.0, 32.0), 2, True),
        ((30.0, 31.0, 32.0), None, False),
    ],
)
def test_patience(wers: tuple[float, ...], patience: int | None, exhausted: bool) -> None:  # noqa: FBT001 (a table's column)
    assert training_loop.is_patience_exhausted(history(*wers), patience) is exhausted
