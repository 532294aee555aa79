"""Runs as IPUJobs: the operator and a double of Graphcore's on a real API server. The tests play the kubelets."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

import ipu_operator
from namespace_view import Namespace
from operator_process import Start, until
from run_objects import DONE
from whisper_finetune_operator.api import preflight
from whisper_finetune_operator.runs import child_name

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("install_crd")]

RUNTIMES = """
runtimes:
- {name: eidf, accelerator: ipu, image: 'trainer:none', workload: IPUJob}
- {name: cpu, accelerator: cpu, image: 'trainer:none'}
"""


WITHOUT_IPU_JOBS = "runtimes: [{name: cpu, accelerator: cpu, image: 'trainer:none'}]"


@pytest.fixture(autouse=True)
def runtimes(tmp_path: Path) -> None:
    (tmp_path / "runtimes.yaml").write_text(RUNTIMES, encoding="utf-8")


@pytest.fixture
def ipu_jobs_known(api: client.ApiClient) -> None:
    """The cluster knows IPUJobs."""
    ipu_operator.install(api)
    until(lambda: ipu_operator.is_served(api), what="the definition of IPUJobs")


@pytest.fixture
def runs(place: Namespace, control_plane: Path, ipu_jobs_known: None) -> Iterator["IpuRuns"]:
    with ipu_operator.running(control_plane):
        yield IpuRuns(place)


class IpuRuns:
    """Runs that become IPUJobs, seen with the official client."""

    def __init__(self, place: Namespace) -> None:
        self.place = place

    def create(self, name: str, **spec: Any) -> str:
        """Return the name of the run's IPUJob."""
        spec = {"model": "openai/whisper-small", "runtime": "eidf", "ipus": 4, **spec}
        return child_name(name, self.place.create_run(name, **spec)["metadata"]["uid"])

    def change(self, name: str, spec: dict[str, Any]) -> None:
        where = "whisperfinetune.dev", "v1alpha1", self.place.name, "whisperfinetunes", name
        self.place.custom.patch_namespaced_custom_object(*where, {"spec": spec})

    def ipu_jobs(self) -> list[dict[str, Any]]:
        where = "graphcore.ai", "v1alpha1", self.place.name, "ipujobs"
        found: list[dict[str, Any]] = self.place.custom.list_namespaced_custom_object(*where)["items"]
        return found

    def running_pod(self, *, other_than: str = "") -> client.V1Pod:
        """Wait for the one pod, start it, and return it."""

        def look() -> client.V1Pod | None:
            return next((pod for pod in self.place.pods() if pod.metadata.uid != other_than), None)

        pod = until(look, what="the pod")
        self.place.run_pod(pod)
        return pod

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.place.run(name).get("status", {})
        return found

    def failed(self, name: str) -> int:
        """Return how many attempts count against the retries."""
        attempts: dict[str, int] = self.status(name).get("attempts", {})
        return attempts.get("failed", 0)

    def reason(self, name: str) -> str:
        found: str = self.place.condition(name).get("reason", "")
        return found

    def end(self, pod: client.V1Pod, exit_code: int, run: str) -> None:
        uid = self.place.run(run)["metadata"]["uid"]
        self.place.end_pod(pod, exit_code, "" if exit_code else json.dumps({**DONE, "uid": uid}))


def test_a_run_becomes_an_ipu_job_and_succeeds_by_its_pod(runs: IpuRuns, start: Start) -> None:
    start()
    name = runs.create("one", ttlSecondsAfterFinished=2)
    pod = runs.running_pod()
    (ipu_job,) = runs.ipu_jobs()
    assert (ipu_job["metadata"]["name"], pod.metadata.name) == (name, f"{name}-worker-0")
    assert ipu_job["metadata"]["ownerReferences"][0]["name"] == "one"
    assert (ipu_job["spec"]["ipusPerJobInstance"], ipu_job["spec"]["jobInstances"]) == ("4", 1)
    told = {each.name: each.value for each in pod.spec.containers[0].env}
    assert (told["NUM_AVAILABLE_IPU"], told["IPUOF_VIPU_API_GCD_ID"]) == ("4", "0")
    until(lambda: runs.status("one").get("state") == "Preparing", what="Preparing")
    runs.end(pod, 0, "one")
    until(lambda: runs.reason("one") == "Succeeded", what="Succeeded")
    status = runs.status("one")
    assert status["attempts"] | {"countedUntil": "", "seenUntil": ""} == {
        "started": 1,
        "failed": 0,
        "outOfMemory": 0,
        "unreadable": 0,
        "interrupted": 0,
        "interruptedInVain": 0,
        "countedUntil": "",
        "seenUntil": "",
    }
    assert (status["jobName"], status["podName"], status["ipus"]) == (name, pod.metadata.name, 4)
    until(lambda: runs.ipu_jobs() == [] and runs.place.pods() == [], what="that it goes after its time")
    assert runs.reason("one") == "Succeeded"


def test_each_attempt_is_another_ipu_job(runs: IpuRuns, start: Start) -> None:
    start()
    runs.create("one", retries=2)
    pods = list[str]()
    for exit_code, failed in ((75, 0), (69, 1)):
        pod = runs.running_pod(other_than=pods[-1] if pods else "")
        pods.append(pod.metadata.uid)
        runs.end(pod, exit_code, "one")
        until(lambda wanted=failed: runs.failed("one") == wanted, what=f"{failed} failed")
    pod = runs.running_pod(other_than=pods[-1])
    runs.end(pod, 0, "one")
    until(lambda: runs.reason("one") == "Succeeded", what="Succeeded")
    assert runs.status("one")["attempts"]["started"] == 3


def test_retries_end(runs: IpuRuns, start: Start) -> None:
    start()
    runs.create("one", retries=0)
    runs.end(runs.running_pod(), 1, "one")
    until(lambda: runs.reason("one") == "RetriesExhausted", what="RetriesExhausted")
    assert len(runs.ipu_jobs()) == 1


def test_an_exit_code_that_is_final_costs_one_attempt(runs: IpuRuns, start: Start) -> None:
    start()
    runs.create("one")
    runs.end(runs.running_pod(), 65, "one")
    until(lambda: runs.reason("one") == "DatasetInvalid", what="DatasetInvalid")
    assert runs.status("one")["attempts"]["started"] == 1


def test_a_pod_that_vanishes_is_replaced_by_another_ipu_job(runs: IpuRuns, start: Start) -> None:
    start()
    runs.create("one")
    pod = runs.running_pod()
    until(lambda: runs.status("one").get("state") == "Preparing", what="Preparing")
    runs.place.core.delete_namespaced_pod(pod.metadata.name, runs.place.name, grace_period_seconds=0)
    runs.end(runs.running_pod(other_than=pod.metadata.uid), 0, "one")
    until(lambda: runs.reason("one") == "Succeeded", what="Succeeded")
    attempts = runs.status("one")["attempts"]
    assert (attempts["started"], attempts["failed"]) == (2, 1)


def test_suspended_and_resumed(runs: IpuRuns, start: Start) -> None:
    start()
    runs.create("one")
    first = runs.running_pod()
    runs.change("one", {"suspend": True})
    until(lambda: runs.reason("one") == "Suspended", what="Suspended")
    assert runs.place.pods() == []
    # Its successor is known by a later second.
    until(lambda: datetime.now(UTC) - first.metadata.creation_timestamp > timedelta(seconds=2), what="a later second")
    runs.change("one", {"suspend": False})
    runs.end(runs.running_pod(other_than=first.metadata.uid), 0, "one")
    until(lambda: runs.reason("one") == "Succeeded", what="Succeeded")
    attempts = runs.status("one")["attempts"]
    assert (attempts["started"], attempts["failed"]) == (2, 0)


def test_deadline_ends_it(runs: IpuRuns, start: Start) -> None:
    start()
    runs.create("one", activeDeadlineSeconds=1)
    pod = runs.running_pod()
    runs.place.hold_pod(pod, "test.dev/kubelet")
    until(lambda: runs.place.pods()[0].metadata.deletion_timestamp, what="that its pod is being ended")
    runs.end(pod, 75, "one")
    runs.place.hold_pod(pod, None)
    until(lambda: runs.reason("one") == "DeadlineExceeded", what="DeadlineExceeded")
    until(lambda: (runs.ipu_jobs(), runs.place.pods()) == ([], []), what="that nothing is left")


def test_deleting_the_run_deletes_everything(runs: IpuRuns, start: Start) -> None:
    start()
    runs.create("one")
    runs.running_pod()
    runs.place.delete_run("one")
    until(lambda: runs.ipu_jobs() == [] and runs.place.pods() == [], what="that nothing is left")


def test_the_operator_is_killed_at_every_turn(runs: IpuRuns, start: Start) -> None:
    replica = start()
    runs.create("one")
    seen: list[str] = []
    for exit_code in (1, 0):
        pod = runs.running_pod(other_than=seen[-1] if seen else "")
        seen.append(pod.metadata.uid)
        replica.kill()
        runs.end(pod, exit_code, "one")
        replica = start()
    until(lambda: runs.reason("one") == "Succeeded", what="Succeeded")
    attempts = runs.status("one")["attempts"]
    assert (attempts["started"], attempts["failed"]) == (2, 1)


def test_without_ipu_jobs_in_the_cluster_other_runs_go_on_and_these_wait(
    place: Namespace, api: client.ApiClient, start: Start, control_plane: Path
) -> None:
    ipu_operator.remove(api)
    until(lambda: ipu_operator.NAME not in ipu_operator.definitions(client.ApiextensionsV1Api(api)), what="no IPUJobs")
    start()
    waiting = IpuRuns(place)
    waiting.create("waits")
    place.create_run("goes-on", runtime="cpu")
    until(lambda: [job for job in place.jobs() if "goes-on" in job.metadata.name], what="the other run's Job")
    until(lambda: waiting.reason("waits") == "PodRefused", what="PodRefused")
    assert "install Graphcore's IPU operator" in place.condition("waits")["message"]
    ipu_operator.install(api)
    with ipu_operator.running(control_plane):
        until(lambda: [pod for pod in place.pods() if pod.metadata.name.endswith("-worker-0")], what="the pod")
        until(lambda: waiting.reason("waits") != "PodRefused", what="that it goes on")


def test_an_ipu_job_of_a_runtime_that_is_taken_out_of_the_file_can_still_be_ended(
    runs: IpuRuns, start: Start, tmp_path: Path
) -> None:
    first = start()
    runs.create("last")
    runs.running_pod()
    first.kill()
    (tmp_path / "runtimes.yaml").write_text(WITHOUT_IPU_JOBS, encoding="utf-8")
    start(name="b")
    runs.change("last", {"suspend": True})
    until(lambda: all("deletionTimestamp" in each["metadata"] for each in runs.ipu_jobs()), what="its deletion")


def test_an_operator_without_the_right_to_ipu_jobs_that_are_left_says_so_once_and_follows_their_pods(
    runs: IpuRuns, start: Start, tmp_path: Path, control_plane: Path
) -> None:
    first = start()
    name = runs.create("last")
    pod = runs.running_pod()
    first.kill()
    (tmp_path / "runtimes.yaml").write_text(WITHOUT_IPU_JOBS, encoding="utf-8")
    token = runs.place.service_account_token("limited")
    runs.place.allow("limited", preflight.needed_rights(runs.place.name, runs.place.name, runs.place.name))
    config = yaml.safe_load(control_plane.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    (tmp_path / "limited.kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
    second = start(name="b", kubeconfig=tmp_path / "limited.kubeconfig")
    until(lambda: [text for text in second.messages() if "rbac.keepIPUJobs" in text], what="the warning")
    until(second.acts, what="that it works all the same")
    (warning,) = [text for text in second.messages() if "IPUJobs" in text]
    assert warning == (
        f"no right to IPUJobs, which runs still have ({name}): these runs cannot be suspended or ended; set the "
        "chart's rbac.keepIPUJobs, or give the right to ipujobs of graphcore.ai, until they are over"
    )
    until(lambda: "its IPUJob is gone" in runs.place.condition("last").get("message", ""), what="a look at the run")
    runs.end(pod, 0, "last")
    until(lambda: runs.reason("last") == "Succeeded", what="Succeeded")
