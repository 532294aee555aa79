"""The operator as a process, on a real API server with the real Job controller. The tests play the kubelets."""

import json
import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from kubernetes import watch
from urllib3.exceptions import ProtocolError

from namespace_view import VERSION, Namespace
from operator_process import RUNTIMES, Start, until
from run_objects import BASELINE, DONE
from whisper_finetune_api import v1alpha1
from whisper_finetune_operator.observability.metric_table import METRICS
from whisper_finetune_operator.runs import child_name

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("install_crd")]


def test_run_gets_a_job_with_two_writes(place: Namespace, start: Start) -> None:
    replica = start()
    until(replica.acts, what="the replica has its turn")
    created = place.create_run("italian")
    uid, version = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
    (job,) = until(place.jobs, what="the Job")
    assert job.metadata.name == child_name("italian", uid)
    assert [owner.to_dict() for owner in job.metadata.owner_references] == [
        {
            "api_version": VERSION,
            "kind": v1alpha1.KIND,
            "name": "italian",
            "uid": uid,
            "controller": True,
            "block_owner_deletion": True,
        }
    ]
    until(lambda: place.condition("italian"), what="the conditions")
    assert versions_before(place, version, int(job.metadata.resource_version)) == 0
    assert replica.writes()["create", "jobs"] == 1
    run = place.run("italian")
    assert run["status"]["observedGeneration"] == 1
    assert run["status"]["state"] == "Pending"
    assert place.condition("italian")["status"] == "Unknown"
    assert place.condition("italian", "Reconciling")["status"] == "True"
    assert "finalizers" not in run["metadata"]
    assert "annotations" not in run["metadata"]
    until(lambda: place.events("italian"), what="an Event about the run")
    assert replica.stop() == 0


def versions_before(place: Namespace, since: str, job_version: int) -> int:
    """Return how often the run was written between its creation and its Job's; it was written after that, too."""
    stream = watch.Watch().stream(
        place.custom.list_namespaced_custom_object,
        v1alpha1.GROUP,
        v1alpha1.VERSION,
        place.name,
        v1alpha1.PLURAL,
        resource_version=since,
        timeout_seconds=60,
    )
    versions = (int(event["object"]["metadata"]["resourceVersion"]) for event in stream)
    return sum(1 for _ in takewhile(lambda version: version < job_version, versions))


def test_deleting_a_run_deletes_its_job_and_pods(place: Namespace, start: Start) -> None:
    start()
    place.create_run("short-lived")
    until(place.pods, what="the pod")
    place.delete_run("short-lived")
    until(lambda: not place.jobs() and not place.pods(), what="that nothing is left")


def test_deleted_job_is_made_again_only_when_its_pod_has_ended(place: Namespace, start: Start) -> None:
    replica = start()
    uid = place.create_run("stubborn")["metadata"]["uid"]
    (pod,) = until(place.pods, what="the pod")
    place.run_pod(pod)
    until(lambda: place.run("stubborn")["status"].get("state") == "Preparing", what="the running trainer")
    place.delete_job(child_name("stubborn", uid), propagation_policy="Orphan")
    until(lambda: "its Job is gone" in place.condition("stubborn")["message"], what="that it waits for the pod")
    assert place.jobs() == []
    assert replica.writes()["create", "jobs"] == 1
    place.end_pod(pod, 137, "")
    until(lambda: replica.writes()["create", "jobs"] == 2, what="the second Job")


def test_what_is_stopped_from_outside_goes_on_in_another_job(place: Namespace, start: Start) -> None:
    start()
    place.create_run("drained", retries=0)
    (pod,) = until(place.pods, what="the pod")
    (first,) = place.jobs()
    place.run_pod(pod)
    until(lambda: place.run("drained")["status"].get("state") == "Preparing", what="the running trainer")
    place.end_pod(pod, 75, "")
    until(lambda: [job for job in place.jobs() if job.metadata.uid != first.metadata.uid], what="another Job")
    until(lambda: [other for other in place.pods() if other.metadata.uid != pod.metadata.uid], what="its pod")
    attempts = place.run("drained")["status"]["attempts"]
    assert (attempts["interrupted"], attempts["failed"]) == (1, 0)


def test_progress_of_a_running_pod_reaches_the_status(place: Namespace, start: Start, tmp_path: Path) -> None:
    answer = {"stage": "Training", "progress": {"step": 30, "totalSteps": 100, "percent": 30}, "baseline": BASELINE}
    with trainer_that_answers(answer) as (port, answers):
        (tmp_path / "runtimes.yaml").write_text(RUNTIMES.replace("}]", f", progressPort: {port}}}]"), encoding="utf-8")
        replica = start()
        answers["uid"] = place.create_run("talking")["metadata"]["uid"]
        (pod,) = until(place.pods, what="the pod")
        place.run_pod(pod, address="127.0.0.1")
        until(lambda: place.run("talking")["status"].get("progress", {}).get("percent") == 30, what="the progress")
        status = place.run("talking")["status"]
        assert status["state"] == "Training"
        assert status["baseline"] == {**BASELINE, "score": BASELINE["normalizedWer"]}
        versions = place.versions("talking")
        asked = answers["asked"]
        until(lambda: answers["asked"] > asked + 3, what="more questions")
        assert place.versions("talking") == versions
        answers["uid"] = "another"
        dropped = 'wft_progress_refused_total{cause="foreign"}'
        until(lambda: replica.figures().get(dropped, 0) > 0, what="that a foreign answer is dropped")


@contextmanager
def trainer_that_answers(answer: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Serve /progress on the loopback; `uid` and `asked` stand in what is yielded beside the port."""
    state: dict[str, Any] = {"uid": None, "asked": 0}

    class Progress(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state["asked"] += 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({**answer, "uid": state["uid"]}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Progress)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_renewed_token_keeps_watches_and_writes_going(
    place: Namespace, start: Start, rotating_kubeconfig: Path, token_file: Path
) -> None:
    replica = start(kubeconfig=rotating_kubeconfig, environment={"OPERATOR_WATCH_SECONDS": "2"})
    until(replica.acts, what="the replica has its turn")
    old = token_file.read_text(encoding="utf-8")
    renewed = token_file.with_suffix(".new")
    renewed.write_text(place.service_account_token("rotating", bound_to="second"), encoding="utf-8")
    renewed.replace(token_file)  # as the kubelet does, so that nobody reads half of it
    place.core.delete_namespaced_secret("first", place.name)
    until(lambda: not place.takes_token(old), what="that the server refuses the old token")
    place.create_run("after")
    until(place.jobs, what="the Job")
    until(lambda: replica.health() == (200, "ok"), what="health")
    assert replica.process.poll() is None


def test_foreign_job_of_the_childs_name_is_waited_for(place: Namespace, start: Start) -> None:
    uid = place.create_run("unlucky")["metadata"]["uid"]
    name = child_name("unlucky", uid)
    place.create_foreign_job(name)
    start()
    until(lambda: place.condition("unlucky").get("reason") == "NameConflict", what="NameConflict")
    assert place.condition("unlucky", "Reconciling")["status"] == "True"
    assert [job.metadata.owner_references for job in place.jobs()] == [None]
    place.delete_job(name)
    (job,) = until(lambda: [job for job in place.jobs() if job.metadata.owner_references], what="the run's own Job")
    assert job.metadata.owner_references[0].uid == uid
    until(lambda: place.condition("unlucky")["reason"] != "NameConflict", what="that the run goes on")


def test_a_job_that_lost_its_label_is_adopted_and_its_end_is_seen(place: Namespace, start: Start) -> None:
    replica = start()
    place.create_run("stripped")
    (pod,) = until(place.pods, what="the pod")
    (job,) = place.jobs()
    place.batch.patch_namespaced_job(
        job.metadata.name, place.name, {"metadata": {"labels": {v1alpha1.UID_LABEL: None}}}
    )
    until(lambda: v1alpha1.UID_LABEL in place.jobs()[0].metadata.labels, what="the label")
    place.end_pod(pod, 0, json.dumps(DONE))
    until(lambda: place.run("stripped")["status"].get("state") == "Succeeded", what="Succeeded")
    assert [each.metadata.uid for each in place.jobs()] == [job.metadata.uid]
    assert place.condition("stripped")["reason"] == "Succeeded"
    assert replica.writes()["create", "jobs"] <= 2


def test_refused_job_is_told_and_made_when_the_quota_allows_it(place: Namespace, start: Start) -> None:
    place.core.create_namespaced_resource_quota(
        place.name, {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    )
    until(lambda: place.core.read_namespaced_resource_quota("none", place.name).status.hard, what="the quota")
    start()
    place.create_run("many")
    until(lambda: place.condition("many").get("reason") == "PodRefused", what="PodRefused")
    assert "exceeded quota: none" in place.condition("many")["message"]
    place.core.delete_namespaced_resource_quota("none", place.name)
    until(place.jobs, what="the Job")
    until(lambda: place.condition("many")["reason"] != "PodRefused", what="that the run goes on")


def test_finished_run_costs_a_restarted_operator_nothing(place: Namespace, start: Start) -> None:
    first = start()
    place.create_run("done", ttlSecondsAfterFinished=3600)
    (pod,) = until(place.pods, what="the pod")
    place.end_pod(pod, 0, json.dumps(DONE))
    until(lambda: place.run("done")["status"].get("state") == "Succeeded", what="Succeeded")
    until(lambda: place.jobs()[0].spec.ttl_seconds_after_finished == 3600, what="that the Job may go")
    until(lambda: first.figures().get("wft_creation_to_finished_seconds_count"), what="that the end has been counted")
    figures = first.figures()
    assert figures['wft_runs{state="Succeeded"}'] == 1
    assert [figures[f"wft_creation_to_{end}_seconds_count"] for end in ("job", "running", "finished")] == [1, 1, 1]
    kinds = {name: kind for name, kind in first.metric_kinds().items() if name.startswith("wft_")}
    assert kinds == {row.name: row.kind for row in METRICS}
    assert first.stop() == 0
    versions = place.versions("done")
    second = start(name="b", environment={"OPERATOR_RESYNC_SECONDS": "0.5"})
    until(lambda: second.figures().get('wft_reconciles_total{outcome="done"}', 0) > 0, what="a look at the run")
    until(lambda: second.requests().get(("list", "whisperfinetunes"), 0) > 2, what="a comparison with the server")
    assert second.writes() == {}
    assert not any(count for name, count in second.figures().items() if name.startswith("wft_runs_ended_total"))
    assert place.versions("done") == versions


def test_each_run_gets_one_job_while_the_operator_is_killed(place: Namespace, start: Start) -> None:
    order = random.Random(11)  # noqa: S311 (it guards nothing)
    with jobs_ever_made(place) as made:
        for first in range(0, 50, 10):
            replica = start()
            until(replica.acts, what="the next life")
            creating = threading.Thread(target=create_runs, args=(place, range(first, first + 10)))
            creating.start()
            time.sleep(order.uniform(0.0, 1.0))  # the moment of the kill is what is random here
            replica.kill()
            creating.join()
        start()
        runs = {f"run-{number}" for number in range(50)}
        until(lambda: {name for name, _ in made.values()} == runs, what="a Job of each run")
        until(lambda: all(place.condition(run) for run in runs), what="a status of each run")
    owners = [owner for _, owner in made.values()]
    assert len(owners) == len(set(owners)) == 50


def create_runs(place: Namespace, numbers: Iterable[int]) -> None:
    for number in numbers:
        place.create_run(f"run-{number}")
        time.sleep(0.1)


@contextmanager
def jobs_ever_made(place: Namespace) -> Iterator[dict[str, tuple[str, str]]]:
    """Collect name and owner's UID of each Job by the Job's UID, deleted ones too."""
    made: dict[str, tuple[str, str]] = {}
    stop = threading.Event()

    def collect() -> None:
        version = "0"
        while not stop.is_set():
            stream = watch.Watch().stream(
                place.batch.list_namespaced_job, place.name, resource_version=version, timeout_seconds=2
            )
            with suppress(ProtocolError):  # the server may cut a watch off
                for event in stream:
                    metadata = event["object"].metadata
                    version = metadata.resource_version
                    made[metadata.uid] = metadata.labels[v1alpha1.NAME_LABEL], metadata.owner_references[0].uid

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join()


def test_a_changed_runtimes_file_counts_without_a_restart(place: Namespace, start: Start, tmp_path: Path) -> None:
    file = tmp_path / "runtimes.yaml"
    replica = start(environment={"OPERATOR_RUNTIMES_SECONDS": "0.1"})
    until(replica.acts, what="the replica has its turn")
    place.create_run("at-work")
    (job,) = until(place.jobs, what="the Job")
    place.create_run("waiting", runtime="second")
    until(lambda: place.condition("waiting").get("reason") == "RuntimeNotFound", what="that the run waits")

    file.write_text("runtimes: [{name: second}]\n", encoding="utf-8")
    until(lambda: replica.figures()["wft_runtimes_file_valid"] == 0, what="the metric of the refused file")
    (event,) = until(lambda: refused_files(place), what="the Event of the refused file")
    assert "runtimes.0.image: Field required" in event.message
    assert len(place.jobs()) == 1

    # The runtime is renamed under the run at work.
    file.write_text(
        RUNTIMES.replace("name: cpu", "name: second").replace("Runtime: cpu", "Runtime: second"), encoding="utf-8"
    )
    until(lambda: len(place.jobs()) == 2, what="the Job of the run that waited")
    assert replica.figures()["wft_runtimes_file_valid"] == 1
    assert job.metadata.uid in [each.metadata.uid for each in place.jobs()]
    assert replica.stop() == 0


def refused_files(place: Namespace) -> list[Any]:
    selector = "involvedObject.kind=Lease,reason=RuntimesRefused"
    found: list[Any] = place.core.list_namespaced_event(place.name, field_selector=selector).items
    return found
