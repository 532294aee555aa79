"""A real API server accepts the Jobs as they are, and Pod Security's strictest level accepts their pods."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

import run_objects
from repository import ROOT
from whisper_finetune_operator.workloads import endings, job_kind, pods
from whisper_finetune_operator.workloads.endings import Meaning
from whisper_finetune_operator.workloads.workload_kind import Workload

pytestmark = pytest.mark.apiserver
GOLDEN = sorted((ROOT / "tests" / "golden").glob("job-*.yaml"))
#: V-IPU partitions are reached by the host's network and /dev/infiniband, which the admin's runtime asks for.
RESTRICTED = [path for path in GOLDEN if path.stem != "job-on-a-partition"]
NAMESPACE = "speech"


@pytest.fixture(scope="module", autouse=True)
def restricted_namespace(api: client.ApiClient) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE, labels=labels))
    client.CoreV1Api(api).create_namespace(namespace)
    for name in ("default", "speech-store"):
        account = client.V1ServiceAccount(metadata=client.V1ObjectMeta(name=name))
        try:
            client.CoreV1Api(api).create_namespaced_service_account(NAMESPACE, account)
        except client.ApiException as error:
            assert error.reason == "Conflict"  # noqa: PT017 (the controller manager was faster)


@pytest.fixture(scope="module", autouse=True)
def classes_of_the_runtimes(api: client.ApiClient) -> None:
    """Make what podTemplates name: the API server refuses a pod of a class that does not exist."""
    runtime_class = client.V1RuntimeClass(handler="nvidia", metadata=client.V1ObjectMeta(name="nvidia"))
    client.NodeV1Api(api).create_runtime_class(runtime_class)
    priority = client.V1PriorityClass(value=1000, metadata=client.V1ObjectMeta(name="training"))
    client.SchedulingV1Api(api).create_priority_class(priority)


def _raw(api: client.ApiClient, typed: Any) -> dict[str, Any]:
    raw: dict[str, Any] = api.sanitize_for_serialization(typed)  # type: ignore[no-untyped-call]  # it has no types
    return raw


def holds(whole: Any, part: Any, path: str = "") -> None:
    """Check that all of `part` is in `whole`: the API server may add defaults, and must not drop a field."""
    if isinstance(part, dict):
        for key, value in part.items():
            assert key in whole, f"{path}.{key} was dropped"
            holds(whole[key], value, f"{path}.{key}")
    elif isinstance(part, list):
        assert len(whole) == len(part), path
        for place, (is_, should) in enumerate(zip(whole, part, strict=True)):
            holds(is_, should, f"{path}[{place}]")
    else:
        assert whole == part, path


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_the_api_server_takes_the_job_and_drops_nothing(api: client.ApiClient, golden: Path) -> None:
    job: Any = run_objects.golden_job(golden)
    made = client.BatchV1Api(api).create_namespaced_job(NAMESPACE, job, dry_run="All", field_validation="Strict")
    holds(_raw(api, made), job)


@pytest.mark.parametrize("golden", RESTRICTED, ids=lambda path: path.stem)
def test_pod_security_restricted_takes_the_pod(api: client.ApiClient, golden: Path) -> None:
    template = run_objects.golden_job(golden)["spec"]["template"]
    pod: Any = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"]["name"] = golden.stem
    client.CoreV1Api(api).create_namespaced_pod(NAMESPACE, pod, dry_run="All", field_validation="Strict")


ENDS: dict[str, tuple[dict[str, Any], Meaning]] = {
    "done": (run_objects.ended(2, 5, 9, 0, run_objects.DONE), Meaning.RESULT),
    "garbled": (run_objects.ended(2, 5, 9, 0, "no JSON"), Meaning.UNREADABLE),
    "stopped": (run_objects.ended(2, 5, 9, 75), Meaning.INTERRUPTED),
    "drained": (run_objects.ended(2, 5, 9, 143, disrupted=True), Meaning.INTERRUPTED),
    "drained-with-bad-data": (run_objects.ended(2, 5, 9, 65, disrupted=True), Meaning.INTERRUPTED),
    **{f"final-{code}": (run_objects.ended(2, 5, 9, code), Meaning.FINAL) for code in (64, 65, 66, 73, 77)},
    "versions-76": (run_objects.ended(2, 5, 9, 76), Meaning.MISMATCH),
    "crashed": (run_objects.ended(2, 5, 9, 1), Meaning.FAILED),
    "no-accelerator": (run_objects.ended(2, 5, 9, 69), Meaning.FAILED),
    "killed": (run_objects.ended(2, 5, 9, 137, reason="OOMKilled"), Meaning.FAILED),
}


class RealJob:
    """One Job on the real Job controller, whose pod's kubelet the test plays."""

    def __init__(self, api: client.ApiClient, name: str) -> None:
        self.api, self.name = api, f"ends-{name}"
        manifest: Any = run_objects.golden_job(GOLDEN[-1])
        # Without its run the garbage collector would take it away.
        manifest["metadata"] = {"name": self.name}
        client.BatchV1Api(api).create_namespaced_job(NAMESPACE, manifest)

    def read(self) -> Workload:
        return job_kind.read_job(self._raw())

    def failures(self) -> int:
        return int(self._raw()["status"].get("failed", 0))

    def change(self, spec: dict[str, Any]) -> None:
        client.BatchV1Api(self.api).patch_namespaced_job(self.name, NAMESPACE, {"spec": spec})

    def pods(self) -> list[Any]:
        core = client.CoreV1Api(self.api)
        return list(core.list_namespaced_pod(NAMESPACE, label_selector=f"job-name={self.name}").items)

    def run_pod(self) -> str:
        """Play scheduler and kubelet: the pod runs on a node; return its name."""
        wait_for(lambda: bool(self.pods()))
        name = str(self.pods()[0].metadata.name)
        target: Any = {"metadata": {"name": name}, "target": {"apiVersion": "v1", "kind": "Node", "name": "nowhere"}}
        core = client.CoreV1Api(self.api)
        # The client cannot read the answer, which is a Status.
        core.create_namespaced_pod_binding(name, NAMESPACE, target, _preload_content=False)
        core.patch_namespaced_pod_status(name, NAMESPACE, {"status": run_objects.running(2, 5)["status"]})
        return name

    def resume(self) -> None:
        self.change({"suspend": False})
        wait_for(lambda: self.read().started_at is not None)

    def end_pod(self, status: dict[str, Any]) -> None:
        wait_for(lambda: bool(self.pods()))
        body = {"status": status}
        client.CoreV1Api(self.api).patch_namespaced_pod_status(self.pods()[0].metadata.name, NAMESPACE, body)

    def _raw(self) -> dict[str, Any]:
        made = client.BatchV1Api(self.api).read_namespaced_job(self.name, NAMESPACE)
        return _raw(self.api, made)


def wait_for(holds_true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so, or fail."""
    until = time.monotonic() + seconds
    while not holds_true():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.1)


@pytest.mark.parametrize("end", ENDS)
def test_the_job_controller_reads_an_end_as_the_operator_does(api: client.ApiClient, end: str) -> None:
    pod, meaning = ENDS[end]
    assert endings.meaning_of_end(pods.read_pod(pod), job_kind.read_job(run_objects.job())) is meaning
    job = RealJob(api, end)
    job.end_pod(pod["status"])
    if meaning in (Meaning.RESULT, Meaning.UNREADABLE):
        wait_for(lambda: (found := job.read().end) is not None and found.type == "Complete")
    elif meaning in (Meaning.FINAL, Meaning.MISMATCH):
        wait_for(lambda: (found := job.read().end) is not None and found.reason == "PodFailurePolicy")
        assert f"exit code {end.rpartition('-')[2]}" in getattr(job.read().end, "message", "")
    elif meaning is Meaning.FAILED:
        wait_for(lambda: job.failures() == 1)
        assert job.read().end is None
    else:
        wait_for(lambda: any(pod.status.phase == "Failed" and not pod.metadata.finalizers for pod in job.pods()))
        assert (job.failures(), job.read().end) == (0, None)


@pytest.mark.parametrize("resumed_first", [False, True])
@pytest.mark.parametrize("exit_code", [0, 65, 137])
def test_the_job_controller_counts_no_end_under_a_suspended_job_and_nor_does_the_operator(
    api: client.ApiClient,
    exit_code: int,
    resumed_first: bool,  # noqa: FBT001 (a table)
) -> None:
    job = RealJob(api, f"suspended-{exit_code}-{resumed_first}".lower())
    first = job.run_pod()
    job.change({"suspend": True})
    wait_for(lambda: job.pods()[0].metadata.deletion_timestamp is not None)
    if resumed_first:
        # Times are whole seconds: the pod must be older than the Job's new start.
        wait_for(lambda: datetime.now(UTC) - job.pods()[0].metadata.creation_timestamp > timedelta(seconds=2))
        job.resume()
    job.end_pod(run_objects.ended(2, 5, 9, exit_code, "no JSON")["status"])
    shown = pods.read_pod(_raw(api, job.pods()[0]))
    assert endings.meaning_of_end(shown, job.read()) is Meaning.INTERRUPTED
    client.CoreV1Api(api).delete_namespaced_pod(first, NAMESPACE, grace_period_seconds=0)
    if not resumed_first:
        job.resume()
    wait_for(lambda: any(pod.metadata.name != first for pod in job.pods()))
    assert (job.failures(), job.read().end) == (0, None)


def test_a_job_ends_and_stays_when_its_deadline_is_set_to_one_second(api: client.ApiClient) -> None:
    job = RealJob(api, "deadline")
    wait_for(lambda: len(job.pods()) == 1)
    job.change({"activeDeadlineSeconds": 1})
    wait_for(lambda: (found := job.read().end) is not None and found.reason == "DeadlineExceeded")
    wait_for(lambda: not job.pods())


def test_retries_that_are_taken_away_count_at_the_next_failure(api: client.ApiClient) -> None:
    job = RealJob(api, "retries")
    job.change({"backoffLimit": 0})
    job.end_pod(ENDS["crashed"][0]["status"])
    wait_for(lambda: (found := job.read().end) is not None and found.reason == "BackoffLimitExceeded")


def test_a_finished_job_goes_after_the_time_that_is_written_then(api: client.ApiClient) -> None:
    job = RealJob(api, "ttl")
    job.end_pod(ENDS["done"][0]["status"])
    wait_for(lambda: job.read().end is not None)
    job.change({"ttlSecondsAfterFinished": 0})

    def gone() -> bool:
        found = client.BatchV1Api(api).list_namespaced_job(NAMESPACE, field_selector=f"metadata.name={job.name}")
        return not found.items

    wait_for(gone)
