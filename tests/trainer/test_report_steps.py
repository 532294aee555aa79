"""The record of a run's steps is bounded, and the same however the steps are divided among attempts."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

import pytest

from whisper_finetune_trainer.checkpoints.step_record import StepRecord, Stretch


@dataclass(frozen=True)
class Step:
    step: int
    loss: float
    learning_rate: float
    seconds: float


def take(record: StepRecord, first: int, last: int) -> StepRecord:
    for step in range(first, last + 1):
        record.add(Step(step, 1 / step, step * 1e-6, 0.5))
    return record


def test_few_steps_are_kept_one_by_one() -> None:
    assert take(StepRecord(), 1, 3).stretches() == (
        Stretch(1, 1, 1.0, 1e-6, 0.5),
        Stretch(2, 1, 0.5, 2e-6, 0.5),
        Stretch(3, 1, 1 / 3, 3e-6, 0.5),
    )


def test_many_steps_become_stretches_of_two_then_four() -> None:
    record = take(StepRecord(largest=4), 1, 5)
    assert [(item.last_step, item.steps) for item in record.stretches()] == [(2, 2), (4, 2), (5, 1)]
    assert record.stretches()[0] == Stretch(2, 2, 0.75, 2e-6, 1.0)
    take(record, 6, 9)
    assert [(item.last_step, item.steps) for item in record.stretches()] == [(4, 4), (8, 4), (9, 1)]
    assert record.stretches()[0].loss == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_however_many_steps_there_are_the_record_is_bounded_and_leaves_none_out() -> None:
    record = take(StepRecord(largest=50), 1, 7_777)
    stretches = record.stretches()
    assert 25 <= len(stretches) <= 50
    assert sum(item.steps for item in stretches) == 7_777
    assert stretches[-1].last_step == 7_777
    assert sum(item.seconds for item in stretches) == pytest.approx(7_777 / 2)


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 7, 8, 9, 30])
def test_a_resumed_run_has_the_record_of_one_that_was_never_stopped(cut: int) -> None:
    straight = take(StepRecord(largest=4), 1, 33)
    killed = take(StepRecord(largest=4), 1, cut)
    state = json.loads(json.dumps(killed.values()))
    # What the killed attempt did after its newest state is done again by the next one, and counts once.
    take(killed, cut + 1, cut + 2)
    resumed = StepRecord(largest=4)
    resumed.restore(state)
    assert take(resumed, cut + 1, 33).stretches() == straight.stretches()


def test_the_time_of_all_attempts_counts() -> None:
    ticks = itertools.count(start=100, step=10)
    first = StepRecord(clock=lambda: next(ticks))
    values = first.values()
    assert values["seconds"] == 10
    second = StepRecord(clock=lambda: next(ticks))
    second.restore(values)
    assert second.seconds() == 10 + 10
