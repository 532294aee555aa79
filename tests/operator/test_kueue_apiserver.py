"""The operator with a real Kueue: admission, quota, preemption, suspension, and queues that take nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from kueue_manager import KueueManager, Queues
from namespace_view import Namespace
from operator_process import OperatorProcess, Start, until
from repository import ROOT
from run_objects import DONE, failure
from whisper_finetune_api.causes import EXIT_STOPPED

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("install_crd")]
SPEECH = {"kueue.x-k8s.io/queue-name": "speech"}
LOW, HIGH = ({**SPEECH, "kueue.x-k8s.io/priority-class": name} for name in ("low", "high"))
EXAMPLE = ROOT / "docs" / "examples" / "kueue" / "queues-and-run.yaml"
RUNTIMES = """
defaultRuntime: cpu
runtimes:
- {name: cpu, accelerator: cpu, image: "trainer:none", resources: {requests: {cpu: 1, memory: 1Gi}}}
- name: gpu
  accelerator: cuda
  image: "trainer:none"
  resource: nvidia.com/gpu
  resources: {requests: {cpu: 1, memory: 1Gi}}
- name: c600
  accelerator: ipu
  image: "trainer:none"
  resource: c600.graphcore.ai/ipu
  ipuSizes: [1, 2, 4, 8]
  resources: {requests: {cpu: 1, memory: 1Gi}}
"""


@pytest.fixture(scope="module")
def kueue(
    control_plane: Path, api: client.ApiClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KueueManager]:
    manager = KueueManager(control_plane, api, tmp_path_factory.mktemp("kueue"))
    for name, value in {"low": 1, "high": 100}.items():
        manager.create("workloadpriorityclasses", "WorkloadPriorityClass", {"metadata": {"name": name}, "value": value})
    yield manager
    print(manager.log()[-5000:])
    manager.stop()


@pytest.fixture
def replica(kueue: KueueManager, start: Start, tmp_path: Path) -> OperatorProcess:
    (tmp_path / "runtimes.yaml").write_text(RUNTIMES, encoding="utf-8")
    return start()


def says(place: Namespace, run: str, *words: str) -> str:
    """Return the run's message once it has these words."""

    def said() -> str:
        message = str(place.condition(run).get("message", ""))
        return message if all(each in message for each in words) else ""

    return until(said, what=f"that {run} says {words}; it says {place.condition(run)}")


def job_of(place: Namespace, run: str) -> client.V1Job:
    """Return the run's Job once it is there."""

    def found() -> client.V1Job | None:
        return next((job for job in place.jobs() if job.metadata.owner_references[0].name == run), None)

    return until(found, what=f"the Job of {run}")


def pod_of(place: Namespace, run: str, *, but: tuple[str, ...] = ()) -> client.V1Pod:
    """Return a pod of the run's Job that is none of these, once it is there."""
    uid = job_of(place, run).metadata.uid

    def found() -> client.V1Pod | None:
        mine = (pod for pod in place.pods() if pod.metadata.owner_references[0].uid == uid)
        return next((pod for pod in mine if pod.metadata.name not in but), None)

    return until(found, what=f"the pod of {run}")


def state(place: Namespace, run: str) -> str:
    return str(place.run(run).get("status", {}).get("state", ""))


def spec_of(job: client.V1Job) -> Any:
    """Return what Kueue owns of a Job."""
    template = job.spec.template
    return job.spec.suspend, template.spec.node_selector, template.spec.tolerations, template.metadata.annotations


def test_a_run_waits_in_kueues_words_and_begins_when_it_is_admitted(
    kueue: KueueManager, place: Namespace, replica: OperatorProcess
) -> None:
    Queues(kueue, place, cpu=1, memory="4Gi")
    place.create_run("first", labels=SPEECH)
    pod = pod_of(place, "first")
    until(lambda: place.condition("first", "Admitted").get("status") == "True", what="that it is admitted")
    place.create_run("second", labels=SPEECH)
    told = says(place, "second", "from queue speech: ", "insufficient unused quota for cpu in flavor any")
    assert state(place, "second") == "Queued", told
    assert place.condition("second", "Admitted")["status"] == "False"
    place.run_pod(pod)
    place.end_pod(pod, 0, json.dumps(DONE))
    second = pod_of(place, "second")
    place.run_pod(second)
    place.end_pod(second, 0, json.dumps(DONE))
    until(lambda: state(place, "second") == "Succeeded", what="the end of the second run")


@pytest.mark.parametrize(
    ("resource", "quota", "spec"),
    [
        ("nvidia.com/gpu", {"gpus": 1}, {"runtime": "gpu"}),
        ("c600.graphcore.ai/ipu", {"ipus": 4}, {"runtime": "c600", "ipus": 4}),
    ],
)
def test_quota_of_accelerators(
    kueue: KueueManager,
    place: Namespace,
    replica: OperatorProcess,
    resource: str,
    quota: dict[str, int],
    spec: dict[str, Any],
) -> None:
    Queues(kueue, place, cpu=9, memory="900Gi", **quota)
    place.create_run("first", labels=SPEECH, **spec)
    pod_of(place, "first")
    place.create_run("second", labels=SPEECH, **spec)
    says(place, "second", f"insufficient unused quota for {resource}")
    place.delete_run("first")
    pod_of(place, "second")


def test_a_run_that_is_preempted_saves_goes_on_and_loses_no_retry(
    kueue: KueueManager, place: Namespace, replica: OperatorProcess
) -> None:
    Queues(kueue, place, cpu=1, memory="4Gi")
    place.create_run("patient", labels=LOW, retries=0)
    pod = pod_of(place, "patient")
    place.run_pod(pod)
    place.hold_pod(pod, "example.com/kubelet")
    until(lambda: place.condition("patient", "Running").get("status") == "True", what="that it runs")
    place.create_run("urgent", labels=HIGH)
    says(place, "patient", "its Job was suspended, by Kueue or by hand")
    place.end_pod(pod, EXIT_STOPPED, json.dumps(failure(None, "stopped at step 10")))
    place.hold_pod(pod, None)
    urgent = pod_of(place, "urgent")
    told = says(place, "patient", "from queue speech: ", "Preempted")
    assert state(place, "patient") == "Queued", told
    place.run_pod(urgent)
    place.end_pod(urgent, 0, json.dumps(DONE))
    again = pod_of(place, "patient", but=(pod.metadata.name,))
    place.run_pod(again)
    place.end_pod(again, 0, json.dumps(DONE))
    until(lambda: state(place, "patient") == "Succeeded", what="the end of the run that was preempted")
    attempts = place.run("patient")["status"]["attempts"]
    assert (attempts.get("failed", 0), attempts["started"]) == (0, 2)


def test_a_run_that_is_suspended_gives_its_quota_back_and_queues_again(
    kueue: KueueManager, place: Namespace, replica: OperatorProcess
) -> None:
    Queues(kueue, place, cpu=1, memory="4Gi")
    place.create_run("first", labels=SPEECH)
    pod_of(place, "first")
    place.create_run("second", labels=SPEECH)
    says(place, "second", "insufficient unused quota")
    suspend(place, "first", suspended=True)
    pod_of(place, "second")
    until(lambda: state(place, "first") == "Suspended", what="that the first is suspended")
    suspend(place, "first", suspended=False)
    says(place, "first", "from queue speech: ", "insufficient unused quota")
    suspend(place, "second", suspended=True)
    pod_of(place, "first")


def suspend(place: Namespace, run: str, *, suspended: bool) -> None:
    body = {"spec": {"suspend": suspended}}
    group, version = place.run(run)["apiVersion"].split("/")
    place.custom.patch_namespaced_custom_object(group, version, place.name, "whisperfinetunes", run, body)


def test_what_kueue_writes_at_admission_stays(kueue: KueueManager, place: Namespace, replica: OperatorProcess) -> None:
    queues = Queues(kueue, place, cpu=1, memory="4Gi")
    place.create_run("first", labels=SPEECH, retries=1)
    pod = pod_of(place, "first")
    until(lambda: place.condition("first", "Admitted").get("status") == "True", what="that it is admitted")
    admitted = job_of(place, "first")
    assert not admitted.spec.suspend
    group, version = place.run("first")["apiVersion"].split("/")
    body = {"spec": {"retries": 3}}
    place.custom.patch_namespaced_custom_object(group, version, place.name, "whisperfinetunes", "first", body)
    until(lambda: job_of(place, "first").spec.backoff_limit == 3, what="that the Job allows more retries")
    assert spec_of(job_of(place, "first")) == spec_of(admitted)
    workload = queues.workload_of(admitted)
    assert workload is not None
    place.run_pod(pod)
    place.end_pod(pod, 0, json.dumps(DONE))
    until(lambda: state(place, "first") == "Succeeded", what="the end")
    managers = {each.manager for each in job_of(place, "first").metadata.managed_fields if "f:suspend" in str(each)}
    assert managers, "nobody is known to have written suspend"
    assert all("kueue" in manager for manager in managers), managers


def test_a_queue_that_does_not_exist_is_named_and_made_later(
    kueue: KueueManager, place: Namespace, replica: OperatorProcess
) -> None:
    queues = Queues(kueue, place, cpu=1, memory="4Gi")
    place.create_run("lost", labels={"kueue.x-k8s.io/queue-name": "nowhere"})
    says(place, "lost", "from queue nowhere: ", "LocalQueue nowhere doesn't exist", "get localqueues")
    queues.add("nowhere")
    pod_of(place, "lost")


def test_a_workload_that_is_deactivated_says_how_it_queues_again(
    kueue: KueueManager, place: Namespace, replica: OperatorProcess
) -> None:
    queues = Queues(kueue, place, cpu=1, memory="4Gi")
    place.create_run("first", labels=SPEECH)
    pod_of(place, "first")
    workload = queues.workload_of(job_of(place, "first"))
    assert workload is not None
    queues.activate(workload, active=False)
    told = says(place, "first", "is deactivated", f"patch workload {workload['metadata']['name']}")
    assert state(place, "first") == "Queued", told
    queues.activate(workload, active=True)
    until(lambda: not job_of(place, "first").spec.suspend, what="that its Job is admitted again")
    pod_of(place, "first")


def test_the_example_of_the_docs_is_admitted_by_its_queues(
    kueue: KueueManager, place: Namespace, replica: OperatorProcess
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace("namespace: speech", f"namespace: {place.name}")
    *queues, run = yaml.safe_load_all(text.replace("metadata.name: speech", f"metadata.name: {place.name}"))
    for each in queues:
        # Another test has made this flavor.
        if each["kind"] != "ResourceFlavor":
            body = {name: value for name, value in each.items() if name not in ("apiVersion", "kind")}
            plural = f"{each['kind'].lower()}s".replace("classs", "classes")
            kueue.create(plural, each["kind"], body, each["metadata"].get("namespace"))
    place.create_run("dialects", labels=run["metadata"]["labels"], **run["spec"])
    pod_of(place, "dialects")
