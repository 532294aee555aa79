"""Statuses, answers and termination messages of other versions: how the run goes on, and what its status says."""

import logging
import random
from typing import Any

import pytest

from api_server_model import Server
from replica_model import NAMESPACE, Replica
from run_objects import DONE, RUNTIMES, complete, ended, job, run_object, running, time, world
from run_scenarios import CREATED, JOB, Moment, tell
from specs import MINIMAL
from whisper_finetune_api.contract import CONTRACT
from whisper_finetune_api.v1alpha1.status import Condition
from whisper_finetune_operator.deciding import decisions
from whisper_finetune_operator.deciding.decisions import Decision
from whisper_finetune_operator.kubernetes_objects import uid_of
from whisper_finetune_operator.workloads import pods

UNKNOWN_CONDITION = {
    "type": "Audited",
    "status": "True",
    "reason": "Audited",
    "lastTransitionTime": time(90),
    "observedGeneration": 1,
}
SUCCEEDED: dict[str, Any] = tell((CREATED, JOB, Moment(101, job(complete(100)), (ended(2, 5, 99, 0, DONE),))))[-1][
    1
].status.to_json_object()


def changed(found: dict[str, Any], **condition: Any) -> dict[str, Any]:
    """Return a status of a newer operator: other fields, another condition, and the condition Succeeded changed."""
    conditions = [{**each, **(condition if each["type"] == "Succeeded" else {})} for each in found["conditions"]]
    progress = {**found["progress"], "clipsPerSecond": "3.0"}
    return {**found, "gpuHours": "1.0", "progress": progress, "conditions": [*conditions, UNKNOWN_CONDITION]}


def look(status: dict[str, Any], **run: Any) -> Decision:
    return decisions.decide(world(run_object(status=status, **run), 5000), RUNTIMES)


def condition(decision: Decision, kind: str = "Succeeded") -> Condition:
    return next(each for each in decision.status.conditions if each.type == kind)


def test_a_finished_run_of_a_newer_operator_is_left_as_it_is() -> None:
    decision = look(changed(SUCCEEDED))
    assert (decision.changed, decision.actions, decision.requeue_seconds) == (False, (), None)
    (remark,) = decision.remarks
    assert "gpuHours: not known to this version" in remark
    assert "progress.clipsPerSecond: not known to this version" in remark


def test_a_finished_run_of_a_newer_operator_is_followed() -> None:
    decision = look(changed(SUCCEEDED), generation=2)
    assert (decision.changed, decision.actions) == (True, ())
    assert (decision.status.observed_generation, decision.status.state) == (2, "Succeeded")
    assert condition(decision).observed_generation == 2


@pytest.mark.parametrize(
    "other", [{"reason": "Succeeded.Well"}, {"reason": ""}, {"observedGeneration": -7}, {"lastTransitionTime": "now"}]
)
def test_a_finished_run_never_begins_anew_whatever_its_status_says_else(other: dict[str, Any]) -> None:
    decision = look(changed(SUCCEEDED, **other), generation=2)
    assert (decision.changed, decision.actions) == (False, ())


def test_a_state_that_is_not_known_ends_no_pod() -> None:
    before = changed({**SUCCEEDED, "state": "Dreaming"}, status="Unknown", reason="Dreaming")
    shown = world(run_object(status=before), 120, job=job(), pods=(running(2, 5),))
    decision = decisions.decide(shown, RUNTIMES)
    assert (decision.status.state, decision.actions) == ("Preparing", ())


LATER_RESULT = ended(2, 5, 99, 0, {**DONE, "contract": CONTRACT + 1})


def test_an_upgraded_operator_takes_the_result_that_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Moment(101, job(complete(100)), (LATER_RESULT,))
    _, waits = tell((CREATED, JOB, waiting, waiting._replace(seconds=90_000)))[-1]
    assert (condition(waits).reason, waits.actions) == ("VersionMismatch", ())
    assert waits.status.attempts is not None
    assert waits.status.attempts.unreadable == 0
    monkeypatch.setattr(pods, "CONTRACT", CONTRACT + 1)
    shown = world(run_object(status=waits.status.to_json_object()), 90_100, job=waiting.job, pods=waiting.pods)
    decision = decisions.decide(shown, RUNTIMES)
    assert decision.status.state == "Succeeded"
    assert decision.status.result is not None
    assert decision.status.baseline is not None
    assert decision.status.completion_time == time(99)


def test_a_result_that_waits_is_not_lost_with_a_container_that_runs_on() -> None:
    pod = {**LATER_RESULT, "status": {**LATER_RESULT["status"], "phase": "Running"}}
    proxy = {"name": "proxy", "image": "proxy:1", "state": {"running": {"startedAt": time(4)}}}
    pod["status"]["containerStatuses"] = [*LATER_RESULT["status"]["containerStatuses"], proxy]
    _, decision = tell((CREATED, JOB, Moment(4000, job(), (pod,))))[-1]
    assert (condition(decision).reason, decision.actions) == ("VersionMismatch", ())


def test_an_attempt_that_another_image_would_do_costs_nothing() -> None:
    refused = ended(2, 5, 6, 76, {"reason": "VersionMismatch", "message": "it knows no weightDecay"})
    _, decision = tell((CREATED, JOB, Moment(8, job(), (refused,))))[-1]
    assert decision.status.attempts is not None
    assert (decision.status.attempts.started, decision.status.attempts.failed) == (1, 0)
    assert condition(decision).reason == "VersionMismatch"


def test_last_words_that_say_more_are_remarked_when_they_are_counted() -> None:
    pod = ended(2, 5, 99, 0, {**DONE, "colour": "\x1b[31mred", "ranOn": {**DONE["ranOn"], "precision": "Eighth"}})
    told = tell((CREATED, JOB, Moment(101, job(complete(100)), (pod,)), Moment(200, job(complete(100)), (pod,))))
    assert [decision.remarks for _, decision in told[:2]] == [(), ()]
    (remark,) = told[2][1].remarks
    assert remark.startswith("termination message: ")
    assert "colour: not known to this version" in remark
    assert "ranOn.precision: Input should be 'Half' or 'Float'" in remark
    assert told[2][1].status.state == "Succeeded"
    assert told[2][1].status.ran_on is None
    assert told[3][1].remarks == ()


async def test_what_is_not_understood_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    replica = Replica(server, RUNTIMES)
    metadata = {"name": "one", "namespace": NAMESPACE, "creationTimestamp": time(1)}
    run = server.put("whisperfinetunes", {"metadata": metadata, "spec": MINIMAL, "status": changed(SUCCEEDED)})
    replica.see()
    for _ in range(3):
        await replica.look(uid_of(run))
    said = [message for message in caplog.messages if "left out" in message]
    assert len(said) == 1
    assert said[0].startswith("not understood and left out: status: ")
