"""Runs as IPUJobs of Graphcore's IPU operator. A double plays its controller, and the pods are simulated."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipu_operator
from e2e import simulation
from e2e.operator_pod import OperatorPod
from e2e.runs import Runs, state_of, uid_of
from e2e.waiting import wait_until

pytestmark = pytest.mark.cluster
AS_IPU_JOBS = {
    "model": "openai/whisper-small",
    "runtime": "simulated-ipu-jobs",
    "ipus": 4,
    "training.batchSize": 16,
}
RUNS = 5


@pytest.fixture
def runs(
    make_runs: Callable[..., Runs], operator: OperatorPod, kubeconfig: Path, cluster_name: str, tmp_path: Path
) -> Iterator[Runs]:
    """The cluster learns of IPUJobs while the operator is at work, and forgets them afterwards."""
    simulation.start(cluster_name, tmp_path)
    ipu_operator.install(operator.api)
    with ipu_operator.running(kubeconfig):
        made = make_runs("ipu-jobs")
        yield made
        made.delete_all()
        wait_until(lambda: not ipu_jobs(made), 180, "no IPUJob is left", operator.log)
    ipu_operator.remove(operator.api)


def ipu_jobs(runs: Runs) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = runs.custom.list_namespaced_custom_object(
        "graphcore.ai", "v1alpha1", runs.namespace, "ipujobs"
    )["items"]
    return found


def test_runs_succeed_and_can_be_suspended_resumed_and_deleted(runs: Runs) -> None:
    held = runs.create("held", {**AS_IPU_JOBS, "suspend": True})
    runs.wait_for_state("held", "Suspended")
    assert ipu_jobs(runs) == []
    for number in range(RUNS):
        runs.create(f"run-{number}", AS_IPU_JOBS)
    runs.change("held", {"suspend": False})
    wait_until(
        lambda: [state_of(run) for run in runs.all()] == ["Succeeded"] * (RUNS + 1),
        240,
        "all Succeeded",
        lambda: runs.explain("held"),
    )
    by_owner = {owner_uid(each): each["metadata"]["name"] for each in ipu_jobs(runs)}
    assert set(by_owner) == {uid_of(run) for run in runs.all()}
    for run in runs.all():
        assert run["status"]["attempts"]["started"] == 1
        assert run["status"]["podName"] == f"{by_owner[uid_of(run)]}-worker-0"
    runs.delete("held")
    wait_until(lambda: uid_of(held) not in map(owner_uid, ipu_jobs(runs)), 180, "its IPUJob is gone", runs.operator_log)
    assert runs.pods(uid_of(held)) == []


def owner_uid(ipu_job: dict[str, Any]) -> str:
    uid: str = ipu_job["metadata"]["ownerReferences"][0]["uid"]
    return uid
