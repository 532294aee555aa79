"""Each attempt is counted once, whatever happens to Jobs, pods and the operator."""

from datetime import timedelta
from typing import Any

import pytest

from run_objects import DONE, at, complete, ended, job, not_yet_over, pod, running, time
from whisper_finetune_api.v1alpha1 import Attempts, WhisperFineTuneStatus
from whisper_finetune_operator.deciding import outcomes, situation
from whisper_finetune_operator.deciding.situation import AttemptCounts
from whisper_finetune_operator.kubernetes_objects import render_time
from whisper_finetune_operator.workloads import job_kind, pods

NEW = WhisperFineTuneStatus()


def count(
    previous: WhisperFineTuneStatus,
    shown: tuple[dict[str, Any], ...],
    owner: dict[str, Any] | None = None,
    seconds: float = 4000,
) -> AttemptCounts:
    live = job_kind.read_job(owner) if owner else None
    return situation.count_attempts(previous, tuple(map(pods.read_pod, shown)), live, at(seconds))


def written(tally: AttemptCounts) -> WhisperFineTuneStatus:
    """Return the status that a tally leaves."""
    return WhisperFineTuneStatus(
        attempts=tally.attempts, pod_name=tally.pod_name, running_seconds=tally.running_seconds
    )


def totals(tally: AttemptCounts) -> tuple[int, int, int, int, int]:
    """Return started, failed, out of memory, unreadable, and seconds."""
    attempts = tally.attempts
    return (
        attempts.started,
        attempts.failed,
        attempts.out_of_memory,
        attempts.unreadable,
        tally.running_seconds,
    )


@pytest.mark.parametrize(
    ("shown", "owner", "expected"),
    [
        pytest.param((), job(), (0, 0, 0, 0, 0), id="none"),
        pytest.param((running(2, 5),), job(), (1, 0, 0, 0, 0), id="at work"),
        pytest.param((ended(2, 5, 65, 0, DONE),), job(), (1, 0, 0, 0, 60), id="result"),
        pytest.param((ended(2, 5, 65, 1),), job(), (1, 1, 0, 0, 60), id="failed"),
        pytest.param((ended(2, 5, 65, 65),), job(), (1, 1, 0, 0, 60), id="failed for good"),
        pytest.param(
            (not_yet_over(ended(2, 5, 65, 1), beside="proxy"),),
            job(),
            (1, 1, 0, 0, 60),
            id="failed, and a proxy runs on",
        ),
        pytest.param(
            (not_yet_over(ended(2, 5, 65, 0, "x"), beside="proxy"),),
            None,
            (1, 0, 0, 1, 60),
            id="unreadable, and a proxy runs on",
        ),
        pytest.param((ended(2, 5, 65, 75),), job(), (1, 0, 0, 0, 60), id="stopped"),
        pytest.param((ended(2, 5, 65, 137, reason="OOMKilled"),), job(), (1, 1, 1, 0, 60), id="killed for memory"),
        pytest.param((ended(2, 5, 65, 137, disrupted=True),), job(), (1, 0, 0, 0, 60), id="drained"),
        pytest.param(
            (ended(2, 5, 65, 137, reason="OOMKilled", disrupted=True),), job(), (1, 0, 0, 0, 60), id="evicted"
        ),
        pytest.param((ended(2, 5, 65, 137, deleted=True),), job(), (1, 1, 0, 0, 60), id="killed, and its Job counts"),
        pytest.param((ended(2, 5, 65, 137, deleted=True),), None, (1, 0, 0, 0, 60), id="killed with its Job"),
        pytest.param(
            (ended(2, 5, 65, 137, deleted=True, job_uid="old"),), job(), (1, 0, 0, 0, 60), id="killed with an older Job"
        ),
        pytest.param(
            (ended(2, 5, 65, 137, deleted=True),), job(spec__suspend=True), (1, 0, 0, 0, 60), id="killed when suspended"
        ),
        pytest.param(
            (ended(2, 5, 65, 137, deleted=True, reason="OOMKilled"),),
            job(spec__suspend=True),
            (1, 0, 0, 0, 60),
            id="killed for memory when suspended",
        ),
        pytest.param(
            (ended(2, 5, 65, 137, deleted=True),),
            job(status__startTime=time(64)),
            (1, 0, 0, 0, 60),
            id="killed when suspended, and resumed before that",
        ),
        pytest.param((ended(2, 5, 65, 1),), job(spec__suspend=True), (1, 1, 0, 0, 60), id="failed, and then suspended"),
        pytest.param((ended(2, 5, 65, 0, "x"),), job(), (1, 0, 0, 0, 0), id="unreadable, until its Job has ended"),
        pytest.param((ended(2, 5, 65, 0, "x"),), job(complete(66)), (1, 0, 0, 1, 60), id="unreadable"),
        pytest.param((ended(2, 5, 65, 0, "x"),), None, (1, 0, 0, 1, 60), id="unreadable, and its Job is gone"),
        pytest.param((), job(complete(66)), (0, 0, 0, 1, 0), id="gone before its result was read"),
        pytest.param((running(2, 5),), job(complete(66)), (1, 0, 0, 0, 0), id="end not in sight yet"),
        pytest.param(
            (ended(2, 5, 65, 1), ended(80, 85, 95, 75), running(100, 105)), job(), (3, 1, 0, 0, 70), id="three"
        ),
    ],
)
def test_each_end_counts_as_what_it_is_and_once(
    shown: tuple[dict[str, Any], ...], owner: dict[str, Any] | None, expected: tuple[int, ...]
) -> None:
    tally = count(NEW, shown, owner)
    assert totals(tally) == expected
    again = count(written(tally), shown, owner)
    assert totals(again) == expected
    assert again.added == ()


def test_totals_go_on_over_workloads() -> None:
    first = count(NEW, (ended(2, 5, 15, 1), ended(30, 35, 45, 1)), job())
    second = count(written(first), (ended(130, 135, 145, 1, job_uid="job-2"),), job(uid="job-2"))
    assert totals(second) == (3, 3, 0, 0, 30)


def test_pods_that_go_one_by_one_are_not_forgotten_and_not_counted_again() -> None:
    first = count(NEW, (ended(2, 5, 15, 1), ended(30, 35, 45, 1)), job())
    later = count(written(first), (ended(30, 35, 45, 1), running(60, 65)), job())
    assert totals(later) == (3, 2, 0, 0, 20)
    assert later.pod_name == pods.read_pod(running(60, 65)).name
    last = count(written(later), (), job())
    assert totals(last) == totals(later)
    assert last.pod_name == later.pod_name


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": time(3605)}]}, 3600),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": time(3905)}]}, 3900),
        ({}, 36000),
    ],
)
def test_an_attempt_whose_node_went_ran_for_as_long_as_is_known(changes: dict[str, Any], seconds: int) -> None:
    lost = running(2, 5)
    lost["status"] |= {"phase": "Failed", **changes}
    assert count(NEW, (lost,), job(), 36005).running_seconds == seconds


@pytest.mark.parametrize(
    ("times", "minutes"), [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (5, 4), (8, 32), (9, 60), (10, 60), (200, 60)]
)
def test_what_is_stopped_again_and_again_in_vain_waits_ever_longer(times: int, minutes: int) -> None:
    assert outcomes.wait_after_interruptions(times) == timedelta(minutes=minutes)


def test_an_attempt_whose_pod_outlasts_it_counts_once() -> None:
    over = ended(2, 5, 15, 1, deleted=True)
    first = count(NEW, (not_yet_over(over, beside="proxy"),), job())
    later = count(written(first), (over,), None)
    assert totals(first) == totals(later) == (1, 1, 0, 0, 10)


def test_an_older_pod_does_not_become_the_newest_when_the_newest_goes() -> None:
    first = count(NEW, (ended(2, 5, 15, 1), running(30, 35)), job())
    later = count(written(first), (ended(2, 5, 15, 1),), job())
    assert (later.pod_name, later.attempts.started) == (first.pod_name, 2)


def test_clocks_of_nodes_do_not_hide_an_attempt() -> None:
    ahead, behind = ended(2, 1005, 1015, 1), ended(60, -500, -490, 1)
    tally = count(NEW, (ahead,), job())
    assert totals(count(written(tally), (ahead, behind), job())) == (2, 2, 0, 0, 20)


def test_a_result_that_was_counted_with_its_pod_is_not_lost_again_when_the_pod_goes() -> None:
    garbled = ended(2, 5, 65, 0, "x")
    early = count(NEW, (garbled,), None)
    shown = count(written(early), (garbled,), job(complete(66)))
    gone = count(written(shown), (), job(complete(66)))
    assert [each.attempts.unreadable for each in (early, shown, gone)] == [1, 1, 1]


def test_a_result_counts_as_lost_only_after_the_watches_had_time_to_tell_of_its_pod() -> None:
    assert count(NEW, (), job(complete(66)), seconds=70).attempts == Attempts()
    lost = count(NEW, (), job(complete(66)), seconds=76)
    assert lost.attempts == Attempts(unreadable=1, counted_until=render_time(at(66)))
    assert count(written(lost), (), job(complete(66)), seconds=900).attempts == lost.attempts


def test_a_pod_that_never_started_takes_no_time() -> None:
    never = pod(2, {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."})
    assert totals(count(NEW, (never,), job())) == (1, 1, 0, 0, 0)


def test_a_container_that_could_not_be_started_did_not_run_since_1970() -> None:
    broken = ended(2, 5, 9, 128, reason="StartError")
    state = broken["status"]["containerStatuses"][0]["state"]["terminated"]
    state["startedAt"] = "1970-01-01T00:00:00Z"
    assert totals(count(NEW, (broken,), job())) == (1, 1, 0, 0, 0)
