"""How long an IPUJob whose pod has ended stays before the next attempt."""

from datetime import timedelta
from typing import Any

import pytest

from ipu_scenarios import AT_WORK, IPU_JOB, as_ipu_job, ended_worker, worker
from run_objects import ended, ipu_job, time
from run_scenarios import tell
from whisper_finetune_operator.next_steps import CreateWorkload, DeleteWorkload
from whisper_finetune_operator.workloads import ipu_job_kind


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(0, 10), (1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 320), (7, 360), (8, 360), (10_000, 360)],
)
def test_it_doubles_up_to_six_minutes(attempts: int, seconds: int) -> None:
    assert ipu_job_kind.IPU_JOB.back_off(attempts) == timedelta(seconds=seconds)


def test_the_next_attempt_waits_and_the_status_does_not_count_down() -> None:
    over = (as_ipu_job(seconds, ipu_job(), (ended_worker(3, 1),)) for seconds in (52, 57.5, 60))
    soon, later, then = (decision for _, decision in tell((as_ipu_job(1), IPU_JOB, AT_WORK, *over))[-3:])
    assert [(each.actions, each.requeue_seconds) for each in (soon, later)] == [((), 8), ((), 2.5)]
    assert [each.changed for each in (soon, later, then)] == [True, False, False]
    assert [type(action) for action in then.actions] == [DeleteWorkload]
    assert then.requeue_seconds is None


def test_what_was_stopped_from_outside_goes_on_at_once() -> None:
    decision = tell((as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(52, ipu_job(), (ended_worker(3, 75),))))[-1][1]
    assert [type(action) for action in decision.actions] == [DeleteWorkload]


def test_the_next_attempt_after_a_pod_that_vanished_waits_as_long_after_it_was_made() -> None:
    waits, goes = (tell((as_ipu_job(1), IPU_JOB, AT_WORK, as_ipu_job(at, ipu_job())))[-1][1] for at in (12, 13))
    assert (waits.actions, waits.requeue_seconds) == ((), 1)
    assert [type(action) for action in goes.actions] == [DeleteWorkload]


def test_no_two_attempts_begin_in_one_second() -> None:
    """An attempt is known by the second in which its pod was made: of a second one, nobody would count the end."""
    stopped = as_ipu_job(5.4, ipu_job(metadata__deletionTimestamp=time(5)), (one_stopped_at_once(5),))
    told = tell((as_ipu_job(1), IPU_JOB, stopped, as_ipu_job(5.4), as_ipu_job(6), as_ipu_job(6)))
    waits, goes = told[-3][1], told[-2][1]
    assert (waits.actions, waits.requeue_seconds) == ((), pytest.approx(0.6))
    assert [type(action) for action in goes.actions] == [CreateWorkload]


def test_clock_behind_the_api_servers_makes_no_attempt_wait() -> None:
    stopped = as_ipu_job(65, ipu_job(metadata__deletionTimestamp=time(65)), (one_stopped_at_once(65),))
    decision = tell((as_ipu_job(1), IPU_JOB, stopped, as_ipu_job(60)))[-1][1]
    assert [type(action) for action in decision.actions] == [CreateWorkload]


def one_stopped_at_once(seconds: int) -> dict[str, Any]:
    return worker(ended(seconds, seconds, seconds, 75))


def test_who_suspends_the_run_meanwhile_does_not_wait() -> None:
    ended = as_ipu_job(52, ipu_job(), (ended_worker(3, 1),), spec={"suspend": True}, generation=2)
    decision = tell((as_ipu_job(1), IPU_JOB, AT_WORK, ended))[-1][1]
    assert [type(action) for action in decision.actions] == [DeleteWorkload]
