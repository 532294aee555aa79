"""Ten runs at once on a pool of three V-IPU partitions. Never two are on one, whatever happens to the operator."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from kubernetes import client

from e2e import partitions_in_use, simulation
from e2e.operator_pod import NAMESPACE, OPERATOR_MODULE, REPLICAS, OperatorPod
from e2e.pod_processes import signal_process_of
from e2e.runs import Runs, condition, state_of
from e2e.waiting import wait_until

pytestmark = pytest.mark.cluster
#: As it stands in values.yaml.
POOL = {"sim-2": 2, "sim-4a": 4, "sim-4b": 4}
RUNS = 10
SECONDS_FOR_ALL = 180
ON_THE_POOL = {
    "model": "openai/whisper-small",
    "runtime": "simulated-pool",
    "ipus": 4,
    "training.batchSize": 16,
}
LEASES = "whisperfinetune.dev/partition"


@pytest.fixture
def simulated_node(operator: OperatorPod, cluster_name: str, tmp_path: Path) -> None:
    simulation.start(cluster_name, tmp_path)


@pytest.fixture
def runs(make_runs: Callable[..., Runs], simulated_node: None) -> Runs:
    return make_runs("pool")


def create_ten(runs: Runs) -> None:
    """Make runs of which the smallest partition is enough for every third one."""
    for number in range(RUNS):
        small = {"model": "openai/whisper-tiny", "ipus": 2} if number % 3 == 0 else {}
        runs.create(f"run-{number}", {**ON_THE_POOL, **small})


def wait_for_all(runs: Runs) -> None:
    def all_succeeded() -> bool:
        found = runs.all()
        return len(found) == RUNS and all(state_of(run) == "Succeeded" for run in found)

    wait_until(all_succeeded, SECONDS_FOR_ALL, "all Succeeded", lambda: report(runs))


def report(runs: Runs) -> str:
    lines = [f"{run['metadata']['name']}: {condition(run, 'Succeeded')}" for run in runs.all()]
    return "\n".join([*lines, runs.operator_log()])


def partition_leases(operator: OperatorPod) -> list[client.V1Lease]:
    leases: list[client.V1Lease] = (
        client.CoordinationV1Api(operator.api).list_namespaced_lease(NAMESPACE, label_selector=LEASES).items
    )
    return leases


def assert_all_done(runs: Runs, operator: OperatorPod, seen: partitions_in_use.PartitionsInUse) -> None:
    assert dict(seen.most) == dict.fromkeys(POOL, 1)
    for run in runs.all():
        assert run["status"]["attempts"]["started"] == 1
        assert condition(run, "Admitted")["status"] == "True"
        assert POOL[run["status"]["partition"]] >= run["status"]["ipus"]
    wait_until(lambda: not partition_leases(operator), 180, "all partitions are given back", operator.log)


def test_ten_runs_while_the_operator_is_killed(runs: Runs, operator: OperatorPod) -> None:
    with partitions_in_use.watching(runs.api, runs.namespace) as seen:
        create_ten(runs)
        for pods in (3, 6):
            seen.wait_for(pods, SECONDS_FOR_ALL)
            operator.crash()
        wait_for_all(runs)
    assert_all_done(runs, operator, seen)


def test_ten_runs_while_the_operator_is_frozen_and_another_takes_over(runs: Runs, operator: OperatorPod) -> None:
    operator.wait_for(ready=REPLICAS)
    sleeper = leader(operator)
    with partitions_in_use.watching(runs.api, runs.namespace) as seen:
        create_ten(runs)
        seen.wait_for(2, SECONDS_FOR_ALL)
        signal_process_of(sleeper, OPERATOR_MODULE, signal.SIGSTOP)
        before = seen.count()
        wait_until(lambda: leader(operator).metadata.uid != sleeper.metadata.uid, 180, "another leads", operator.log)
        seen.wait_for(before + 1, SECONDS_FOR_ALL)
        signal_process_of(sleeper, OPERATOR_MODULE, signal.SIGCONT)
        wait_for_all(runs)
    assert_all_done(runs, operator, seen)
    wait_until(lambda: restarts_of(operator, sleeper) > 0, 180, "the one that woke has ended", operator.log)


def leader(operator: OperatorPod) -> client.V1Pod:
    """The pod whose name stands in the replicas' Lease."""

    def look() -> client.V1Pod | None:
        lease = client.CoordinationV1Api(operator.api).read_namespaced_lease("whisper-finetune-operator", NAMESPACE)
        pods = {pod.metadata.name: pod for pod in operator.pods()}
        return pods.get(lease.spec.holder_identity)

    return wait_until(look, 90, "a leader", operator.log)


def restarts_of(operator: OperatorPod, pod: client.V1Pod) -> int:
    found = next(each for each in operator.pods() if each.metadata.uid == pod.metadata.uid)
    before: int = pod.status.container_statuses[0].restart_count
    now: int = found.status.container_statuses[0].restart_count
    return now - before
