"""A run goes on when something is killed, deleted or suspended while it trains, and never twice at once."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubernetes import client

from e2e import run_folders, trainers_at_work
from e2e.mid_training import Stage
from e2e.operator_pod import REPLICAS, OperatorPod
from e2e.pod_processes import kill_process_of
from e2e.runs import Runs, condition, succeeded, uid_of
from e2e.waiting import wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def runs(make_runs: Callable[..., Runs]) -> Runs:
    return make_runs("disturbances")


@pytest.fixture
def stage(runs: Runs, volume: Path) -> Iterator[Stage]:
    """The runs of one test, watched; those that it leaves behind do not slow the next one down."""
    with trainers_at_work.watching(runs.api, runs.namespace) as seen:
        yield Stage(runs, volume, seen)
    runs.delete_all()


def test_trainer_pod_is_deleted(stage: Stage) -> None:
    run = stage.start("pod-deleted")
    pod = stage.pod_at_work(run)
    stage.runs.core.delete_namespaced_pod(pod.metadata.name, stage.runs.namespace, grace_period_seconds=0)
    stage.assert_went_on(run, pods=2)


def test_trainer_process_is_killed(stage: Stage) -> None:
    run = stage.start("process-killed")
    kill_process_of(stage.pod_at_work(run), "whisper_finetune_trainer")
    ended = stage.assert_went_on(run, pods=2)
    assert ended["status"]["attempts"]["failed"] == 1


def test_trainer_pod_is_evicted(stage: Stage) -> None:
    run = stage.start("pod-evicted")
    name = stage.pod_at_work(run).metadata.name
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=name))
    stage.runs.core.create_namespaced_pod_eviction(name, stage.runs.namespace, eviction)
    ended = stage.assert_went_on(run, pods=2)
    assert (ended["status"]["attempts"]["failed"], ended["status"]["attempts"]["interrupted"]) == (0, 1)


def test_trainer_is_killed_more_often_than_retries_allow(stage: Stage) -> None:
    run = stage.start("no-retries", {"retries": 0})
    kill_process_of(stage.pod_at_work(run), "whisper_finetune_trainer")
    ended = stage.runs.wait_for_state("no-retries", "Failed")
    assert succeeded(ended)["reason"] == "RetriesExhausted"
    assert "137" in succeeded(ended)["message"]
    assert len(stage.runs.pods(uid_of(run))) == 1


def test_operator_is_killed(stage: Stage, operator: OperatorPod) -> None:
    run = stage.start("operator-killed")
    operator.kill()
    ended = stage.runs.wait_for_state("operator-killed", "Succeeded", 240)
    assert stage.trainers.pods[uid_of(run)] == {pod.metadata.uid for pod in stage.runs.pods(uid_of(run))}
    assert ended["status"]["attempts"]["started"] == 1
    stage.trainers.assert_never_two(uid_of(run))
    run_folders.whole_model(stage.folder(run), uid_of(run))
    operator.wait_for(ready=REPLICAS)


def test_job_is_deleted(stage: Stage) -> None:
    run = stage.start("job-deleted")
    (job,) = stage.runs.jobs(uid_of(run))
    stage.runs.batch.delete_namespaced_job(job.metadata.name, stage.runs.namespace, propagation_policy="Background")
    stage.assert_went_on(run, pods=2)
    (another,) = stage.runs.jobs(uid_of(run))
    assert (another.metadata.name, another.metadata.uid != job.metadata.uid) == (job.metadata.name, True)


def test_run_is_made_again_under_its_name(stage: Stage) -> None:
    old = stage.start("again")
    stage.runs.delete("again")
    new = stage.runs.create("again")
    ended = stage.runs.wait_for_state("again", "Succeeded", 240)
    assert uid_of(new) == uid_of(ended) != uid_of(old)
    (job,) = stage.runs.jobs(uid_of(new))
    assert job.metadata.name == ended["status"]["jobName"]
    assert ended["status"]["attempts"]["started"] == 1
    assert stage.resumed_step(ended) == 0
    assert run_folders.whole_model(stage.folder(new), uid_of(new))["step"] == new["spec"]["training"]["steps"]
    for manifest in stage.folder(new).rglob("manifest.json"):
        assert json.loads(manifest.read_text())["uid"] == uid_of(new)
    wait_until(lambda: not stage.runs.jobs(uid_of(old)), 90, "the old Job is gone", lambda: stage.runs.explain("again"))
    assert not (stage.folder(old) / "model").exists()


def test_run_is_suspended_and_resumed(stage: Stage) -> None:
    run = stage.start("suspended", {"training.steps": 1500})
    stage.runs.wait("suspended", "its progress is told", lambda run: run["status"].get("progress", {}).get("percent"))
    stage.runs.change("suspended", {"suspend": True})
    suspended = stage.runs.wait_for_state("suspended", "Suspended")
    assert condition(suspended, "Suspended")["status"] == "True"
    assert condition(suspended, "Reconciling")["status"] == "False"
    assert not any(trainers_at_work.is_at_work(pod) for pod in stage.runs.pods(uid_of(run)))
    reached = run_folders.resume_steps(stage.folder(run))[-1]
    stage.runs.change("suspended", {"suspend": False})
    ended = stage.assert_went_on(run, pods=2)
    assert stage.resumed_step(ended) == reached
    assert ended["status"]["attempts"]["failed"] == 0


def test_deadline_counts_all_attempts(stage: Stage) -> None:
    run = stage.start("deadline", {"training.steps": 500_000})
    first = stage.pod_at_work(run)
    kill_process_of(first, "whisper_finetune_trainer")
    stage.wait_for_another_pod(run, than=first)
    deadline_seconds = int(seconds_of(stage.runs.pods(uid_of(run))[0])) + 5
    stage.runs.change("deadline", {"activeDeadlineSeconds": deadline_seconds})
    ended = stage.runs.wait_for_state("deadline", "Failed", 240)
    assert succeeded(ended)["reason"] == "DeadlineExceeded"
    assert ended["status"]["attempts"]["started"] == 2
    assert ended["status"]["runningSeconds"] >= deadline_seconds
    assert all(seconds_of(pod) < deadline_seconds for pod in stage.runs.pods(uid_of(run)))
    assert ended["status"]["baseline"]["wer"]


def seconds_of(pod: client.V1Pod) -> float:
    ended = pod.status.container_statuses[0].state.terminated
    seconds: float = (ended.finished_at - ended.started_at).total_seconds()
    return seconds


def test_finished_job_is_cleaned_up_and_the_run_stays_finished(runs: Runs, operator: OperatorPod) -> None:
    run = runs.create("cleaned", {"ttlSecondsAfterFinished": 1})
    runs.wait_for_state("cleaned", "Succeeded")
    wait_until(lambda: not runs.jobs(uid_of(run)), 180, "the finished Job is gone", lambda: runs.explain("cleaned"))
    finished = runs.get("cleaned")
    operator.kill()
    # That a later run is looked at shows that the operator has also looked at this one.
    runs.create("looked-at", {"runtime": "nowhere"})
    runs.wait_for_reason("looked-at", "Unschedulable")
    assert runs.jobs(uid_of(run)) == runs.pods(uid_of(run)) == []
    assert runs.get("cleaned") == finished
    operator.wait_for(ready=REPLICAS)
