"""The object cache: the newest version stays, deletions last, and everything of a run is found by its UID."""

import json
from typing import Any

import pytest

from run_objects import CHILD, NAMESPACE, UID, at, ended, job, pod, progress, run_object, running
from whisper_finetune_api.run import CONFIG_ENV
from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.watching import cached_objects
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.world import Refusal, Silence, World

CONFIGURATION = {"name": CONFIG_ENV, "value": '{"progressPort": 8080}'}


def version(changed: dict[str, Any], number: int, **metadata: Any) -> dict[str, Any]:
    """Return the object at a version, labelled as the run's, as a watch brings it."""
    labels = {**changed["metadata"].get("labels", {}), UID_LABEL: UID}
    fields = {"resourceVersion": str(number), "labels": labels, "managedFields": [{"manager": "kubelet"}], **metadata}
    return {"spec": {}, **changed, "metadata": {**changed["metadata"], **fields}}


def pod_version(changed: dict[str, Any], number: int, **metadata: Any) -> dict[str, Any]:
    environment = [{"name": "HOME", "value": "/scratch"}, CONFIGURATION]
    containers = [{"name": "trainer", "image": "trainer:1", "env": environment}]
    spec = {"containers": containers, "volumes": [{"name": "scratch"}], "nodeName": "worker-3"}
    return version({**changed, "spec": spec}, number, **metadata)


@pytest.fixture
def store() -> ObjectCache:
    made = ObjectCache(PartitionBook(lambda _: None))
    made.put_run(version(run_object(), 10))
    return made


def world(store: ObjectCache) -> World:
    run = store.run(UID)
    assert run is not None
    return store.world(run, at(60))


def test_newer_version_of_a_run_is_news_and_an_older_or_the_same_is_none(store: ObjectCache) -> None:
    assert not store.put_run(version(run_object(), 10))
    assert not store.put_run(version(run_object(), 9))
    assert store.put_run(version(run_object(status={"state": "Training"}), 11))
    assert not store.put_run(version(run_object(), 10))
    assert world(store).run.status == {"state": "Training"}


def test_versions_are_numbers(store: ObjectCache) -> None:
    assert store.put_run(version(run_object(), 100))
    assert not store.put_run(version(run_object(), 99))


def test_late_answer_brings_no_deleted_object_back(store: ObjectCache) -> None:
    store.forget_run(UID)
    assert not store.put_run(version(run_object(), 11))
    assert store.run(UID) is None
    store.put_workload("Job", version(job(), 12))
    store.forget_workload("Job", version(job(), 13))
    assert not store.put_workload("Job", version(job(), 14))
    assert list(store.workloads("Job")) == []


def test_deletions_are_remembered_for_a_bounded_number(store: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_objects, "REMEMBERED_DELETIONS", 2)
    for uid in ("job-1", "job-2", "job-3"):
        store.forget_workload("Job", version(job(uid=uid), 20))
    assert store.put_workload("Job", version(job(uid="job-1"), 21))
    assert not store.put_workload("Job", version(job(uid="job-3"), 22))


def test_job_is_found_under_the_childs_name_whoever_owns_it(store: ObjectCache) -> None:
    foreign = version(job(owner="somebody"), 11, labels={})
    store.put_workload("Job", foreign)
    found = world(store).workload
    assert found is not None
    assert found["metadata"]["name"] == CHILD
    store.forget_workload("Job", foreign)
    assert world(store).workload is None


def test_job_of_another_name_is_not_the_runs(store: ObjectCache) -> None:
    store.put_workload("Job", version(job(), 11, name="copy"))
    assert world(store).workload is None


def test_successor_stays_whatever_order_the_news_come_in(store: ObjectCache) -> None:
    store.put_workload("Job", version(job(uid="new"), 30))
    assert not store.put_workload("Job", version(job(uid="old"), 20))
    store.forget_workload("Job", version(job(uid="old"), 29))
    found = world(store).workload
    assert found is not None
    assert found["metadata"]["uid"] == "new"


def test_pods_are_the_runs_own_by_label_and_namespace_oldest_first(store: ObjectCache) -> None:
    store.put_pod(pod_version(pod(50), 11))
    store.put_pod(pod_version(pod(20), 12))
    store.put_pod(pod_version(pod(30), 13, namespace="elsewhere"))
    assert [each["metadata"]["uid"] for each in world(store).pods] == ["pod-20", "pod-50"]
    store.forget_pod(pod_version(pod(20), 14))
    assert [each["metadata"]["uid"] for each in world(store).pods] == ["pod-50"]


def test_pod_that_ended_and_went_stays_until_it_was_decided_upon(store: ObjectCache) -> None:
    store.put_pod(pod_version(running(20, 21), 11))
    store.forget_pod(pod_version(ended(20, 21, 40, 1, "gone wrong"), 12))
    decided_upon = world(store).pods
    assert decided_upon[0]["status"]["phase"] == "Failed"
    store.forget_pod(pod_version(ended(50, 51, 60, 1), 13))
    store.drop_departed(decided_upon)
    assert [each["metadata"]["uid"] for each in world(store).pods] == ["pod-50"]
    store.drop_departed(world(store).pods)
    assert world(store).pods == ()
    assert list(store.pods()) == []


def test_pods_of_a_deleted_run_leave_nothing_behind(store: ObjectCache) -> None:
    store.forget_pod(pod_version(ended(20, 21, 40, 1), 11))
    store.forget_run(UID)
    store.forget_pod(pod_version(ended(50, 51, 60, 1), 12))
    assert list(store.pods()) == []


def test_pod_that_lost_its_label_and_got_it_back_is_seen_again(store: ObjectCache) -> None:
    """A watch by the label tells of the loss as of a deletion, and of the object's return with a later version."""
    store.put_pod(pod_version(running(20, 21), 11))
    store.forget_pod(pod_version(running(20, 21), 12))
    assert not store.put_pod(pod_version(running(20, 21), 11))
    assert not store.put_pod(pod_version(running(20, 21), 12))
    assert store.put_pod(pod_version(running(20, 21), 13))
    assert [each["metadata"]["uid"] for each in world(store).pods] == ["pod-20"]


def test_report_counts_for_the_newest_pod_alone(store: ObjectCache) -> None:
    store.put_pod(pod_version(running(20, 21), 11))
    store.keep_report(UID, "pod-20", progress(10), at(25))
    assert world(store).report == progress(10)
    store.put_pod(pod_version(running(50, 51), 12))
    assert world(store).report is None


def test_a_report_is_as_old_as_the_last_change_of_what_it_says(store: ObjectCache) -> None:
    store.put_pod(pod_version(running(20, 21), 11))
    store.keep_report(UID, "pod-20", progress(10), at(25))
    assert world(store).report_changed_at is None
    store.keep_report(UID, "pod-20", progress(11), at(40))
    store.keep_report(UID, "pod-20", progress(11), at(55))
    assert world(store).report_changed_at == at(40)
    store.put_pod(pod_version(running(50, 51), 12))
    store.keep_report(UID, "pod-50", progress(12), at(70))
    assert world(store).report_changed_at is None


def test_silence_is_of_the_newest_pod_counts_from_its_first_moment_and_ends_with_an_answer(store: ObjectCache) -> None:
    store.put_pod(pod_version(running(20, 21), 11))
    store.keep_silence(UID, "pod-20", Silence(at(30), "no answer in time"))
    store.keep_silence(UID, "pod-20", Silence(at(45), "refused"))
    assert world(store).silence == Silence(at(30), "refused")
    store.keep_report(UID, "pod-20", progress(10), at(25))
    assert world(store).silence is None
    store.keep_silence(UID, "pod-20", Silence(at(60), "refused"))
    store.put_pod(pod_version(running(50, 51), 12))
    assert world(store).silence is None
    store.keep_silence(UID, "pod-50", Silence(at(70), "refused"))
    assert world(store).silence == Silence(at(70), "refused")
    store.forget_run(UID)
    assert store.keep_silence(UID, "pod-50", Silence(at(80), "refused")) is None


def test_pods_of_runs_that_others_follow_are_no_attempts_of_ours() -> None:
    manager = "whisperfinetune-operator/b/wft"
    store = ObjectCache(PartitionBook(lambda _: None), is_ours=lambda run: manager not in run.status_managers)
    store.put_pod(pod_version(running(20, 21), 11))
    store.put_run(version(run_object(), 10))
    assert len(list(store.attempts())) == 1
    theirs = version(run_object(), 12)
    theirs["metadata"]["managedFields"] = [{"manager": manager, "operation": "Apply", "subresource": "status"}]
    store.put_run(theirs)
    assert list(store.attempts()) == []


def test_refusal_holds_for_the_job_it_was_told_of(store: ObjectCache) -> None:
    run = world(store).run
    of_the_job, of_its_pod = Refusal("no Job", at(1)), Refusal("no pod", at(2))
    store.keep_refusal(run, of_the_job)
    assert world(store).refusal == of_the_job
    store.put_workload("Job", version(job(), 11))
    assert world(store).refusal is None
    store.keep_refusal(run, of_its_pod)
    assert world(store).refusal == of_its_pod
    store.keep_refusal(run, None)
    assert world(store).refusal is None


def test_nothing_is_kept_for_an_unknown_run() -> None:
    store = ObjectCache(PartitionBook(lambda _: None))
    store.keep_report(UID, "pod-20", progress(10), at(25))
    store.put_run(version(run_object(), 10))
    store.put_pod(pod_version(running(20, 21), 11))
    assert world(store).report is None


def test_what_no_decision_reads_is_not_kept(store: ObjectCache) -> None:
    unread = {"template": {"spec": {"containers": []}}, "podFailurePolicy": {"rules": []}}
    whole = version({**job(), "spec": {**job()["spec"], **unread}}, 11)
    whole["metadata"]["annotations"]["other.io/note"] = "long"
    store.put_workload("Job", whole)
    store.put_pod(pod_version(running(20, 21), 12))
    store.put_pod(pod_version(ended(10, 11, 12, 1), 13))
    kept = world(store)
    assert kept.workload is not None
    assert kept.workload["metadata"]["annotations"] == {"whisperfinetune.dev/failed-before": "0"}
    assert "managedFields" not in kept.workload["metadata"]
    assert kept.workload["spec"] == job()["spec"]
    assert kept.workload["status"] == job()["status"]
    over, at_work = kept.pods
    assert over["spec"] == {"containers": [], "nodeName": "worker-3"}
    assert at_work["spec"] == {"containers": [{"name": "trainer", "env": [CONFIGURATION]}], "nodeName": "worker-3"}
    assert at_work["metadata"]["namespace"] == NAMESPACE


def test_short_texts_are_kept_once_for_all_objects(store: ObjectCache) -> None:
    for number in (1, 2):
        decoded = json.loads(json.dumps(run_object(status={"state": "Not known yet"})))
        store.put_run(version(decoded, number, uid=f"uid-{number}"))
    first, second = (run.status["state"] for run in store.runs() if run.uid in ("uid-1", "uid-2"))
    assert first is second
