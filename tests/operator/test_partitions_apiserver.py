"""Runs on a pool of partitions, with the operator as a process on a real API server. The tests play the kubelets."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from namespace_view import Namespace
from operator_process import OperatorProcess, Start, until
from run_objects import DONE

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("install_crd")]

POOL = """
runtimes:
- name: pod16
  accelerator: ipu
  image: trainer:none
  partitions: {apiHost: 10.5.1.1, pool: [{id: p4a, ipus: 4}, {id: p8, ipus: 8}]}
"""
WITHOUT_POOL = "runtimes: [{name: cpu, accelerator: cpu, image: 'trainer:none'}]"
SHORT_LEASE = {"OPERATOR_LEASE_SECONDS": "9"}
ID = "whisperfinetune.dev/partition-id"


@pytest.fixture(autouse=True)
def pool(tmp_path: Path) -> None:
    (tmp_path / "runtimes.yaml").write_text(POOL, encoding="utf-8")


class Pool:
    """The partitions of a namespace, seen with the official client."""

    def __init__(self, place: Namespace) -> None:
        self.place = place
        self.api = client.CoordinationV1Api(place.core.api_client)

    def create(self, name: str, ipus: int = 4) -> dict[str, Any]:
        return self.place.create_run(name, model="openai/whisper-small", runtime="pod16", ipus=ipus)

    def leases(self) -> dict[str, Any]:
        """Return each partition's Lease by the partition's id."""
        found = self.api.list_namespaced_lease(self.place.name, label_selector="whisperfinetune.dev/partition").items
        return {lease.metadata.annotations[ID]: lease for lease in found}

    def holders(self) -> dict[str, str]:
        """Return the name of the run on each partition that is taken."""
        names = {id_: lease.metadata.labels["whisperfinetune.dev/run-name"] for id_, lease in self.leases().items()}
        return dict(sorted(names.items()))

    def pod_of(self, run: str) -> client.V1Pod | None:
        selector = f"whisperfinetune.dev/run-name={run}"
        pods = self.place.core.list_namespaced_pod(self.place.name, label_selector=selector).items
        return next((pod for pod in pods if pod.status.phase in ("Pending", "Running")), None)

    def finish(self, run: str) -> None:
        pod = until(lambda: self.pod_of(run), what=f"the pod of {run}")
        uid = self.place.run(run)["metadata"]["uid"]
        self.place.end_pod(pod, 0, json.dumps({**DONE, "uid": uid}))

    def reason(self, run: str) -> tuple[str, str]:
        condition = self.place.condition(run)
        return condition.get("reason", ""), condition.get("message", "")


@pytest.fixture
def runs(place: Namespace) -> Pool:
    return Pool(place)


def environment(pod: client.V1Pod) -> dict[str, str]:
    return {each.name: each.value for each in pod.spec.containers[0].env}


def test_a_run_takes_a_partition_uses_it_and_gives_it_back(runs: Pool, start: Start) -> None:
    replica = start()
    uid = runs.create("one")["metadata"]["uid"]
    pod = until(lambda: runs.pod_of("one"), what="the pod")
    told = environment(pod)
    assert (told["IPUOF_VIPU_API_HOST"], told["IPUOF_VIPU_API_PARTITION_ID"]) == ("10.5.1.1", "p4a")
    assert runs.leases()["p4a"].spec.holder_identity == uid
    status = runs.place.run("one")["status"]
    assert (status["partition"], status["ipus"], status["runtime"]) == ("p4a", 4, "pod16")
    assert runs.place.condition("one", "Admitted")["status"] == "True"
    runs.finish("one")
    until(lambda: runs.leases() == {}, what="that the partition is given back")
    until(lambda: runs.reason("one")[0] == "Succeeded", what="Succeeded")
    assert runs.place.run("one")["status"]["partition"] == "p4a"
    # It counts a request when it has the answer, which may be after the Lease is gone.
    until(lambda: replica.requests().get(("delete", "leases")), what="that it has counted the Lease's end")
    writes = replica.requests()
    assert [writes[verb, "leases"] for verb in ("create", "delete")] == [2, 1]  # one of them the replicas' own


def test_the_oldest_goes_first_and_the_others_know_their_places(runs: Pool, start: Start) -> None:
    start()
    for name in ("a", "b"):
        runs.create(name)
        until(lambda name=name: runs.pod_of(name), what=f"the pod of {name}")
    assert runs.holders() == {"p4a": "a", "p8": "b"}
    for name in ("c", "d", "e"):
        runs.create(name, ipus=8 if name == "d" else 4)
    until(lambda: runs.reason("e") == ("WaitingForPartition", "3rd of 3 waiting for 4 IPUs"), what="the place of e")
    until(lambda: runs.reason("d") == ("WaitingForPartition", "2nd of 3 waiting for 8 IPUs"), what="the place of d")
    assert runs.place.condition("e", "Admitted")["status"] == "False"
    assert runs.place.run("e")["status"]["state"] == "Queued"
    runs.finish("a")
    until(lambda: runs.holders() == {"p4a": "c", "p8": "b"}, what="that c has its turn")
    until(lambda: runs.reason("e")[1] == "2nd of 2 waiting for 4 IPUs", what="the new place of e")
    runs.finish("c")
    until(lambda: runs.holders() == {"p4a": "e", "p8": "b"}, what="that e passes d, which cannot use what is free")
    runs.finish("b")
    until(lambda: runs.holders() == {"p4a": "e", "p8": "d"}, what="that d has its turn")


def test_a_partition_is_kept_between_attempts_and_as_long_as_a_pod_may_run(runs: Pool, start: Start) -> None:
    start()
    runs.create("first", ipus=8)
    pod = until(lambda: runs.pod_of("first"), what="the pod")
    runs.place.run_pod(pod)
    runs.create("second", ipus=8)
    until(lambda: runs.reason("second")[0] == "WaitingForPartition", what="that the second one waits")
    runs.place.end_pod(pod, 1, "")
    until(lambda: (next_pod := runs.pod_of("first")) and next_pod.metadata.name != pod.metadata.name, what="a retry")
    assert runs.holders() == {"p8": "first"}
    pod = runs.pod_of("first")
    assert pod is not None
    # Its node does not answer: it stays, being deleted, until somebody says that it is over.
    runs.place.hold_pod(pod, "test.dev/kubelet")
    runs.place.run_pod(pod)
    runs.place.delete_run("first")
    until(lambda: (left := runs.pod_of("first")) and left.metadata.deletion_timestamp, what="that its pod is ending")
    assert runs.holders() == {"p8": "first"}
    runs.place.end_pod(pod, 75, "")
    runs.place.hold_pod(pod, None)
    until(lambda: runs.holders() == {"p8": "second"}, what="that the second one has its turn")


def test_a_suspended_run_gives_its_partition_back_and_stands_in_line_again(runs: Pool, start: Start) -> None:
    start()
    runs.create("first", ipus=8)
    until(lambda: runs.pod_of("first"), what="the pod")
    runs.create("second", ipus=8)
    until(lambda: runs.reason("second")[0] == "WaitingForPartition", what="that the second one waits")
    change(runs.place, "first", {"suspend": True})
    until(lambda: runs.holders() == {"p8": "second"}, what="that the second one has its turn")
    until(lambda: runs.reason("first")[0] == "Suspended", what="Suspended")
    assert "partition" not in runs.place.run("first")["status"]
    change(runs.place, "first", {"suspend": False})
    until(lambda: runs.reason("first") == ("WaitingForPartition", "1st of 1 waiting for 8 IPUs"), what="its place")


def change(place: Namespace, run: str, spec: dict[str, Any]) -> None:
    place.custom.patch_namespaced_custom_object(
        "whisperfinetune.dev", "v1alpha1", place.name, "whisperfinetunes", run, {"spec": spec}
    )


def test_the_partition_of_a_run_that_was_deleted_while_nobody_watched_is_given_back(runs: Pool, start: Start) -> None:
    first = start()
    runs.create("gone")
    until(lambda: runs.pod_of("gone"), what="the pod")
    first.kill()
    runs.place.delete_run("gone")
    until(lambda: not runs.place.pods() and not runs.place.jobs(), what="that nothing is left")
    assert runs.holders() == {"p4a": "gone"}
    start(name="b")
    until(lambda: runs.leases() == {}, what="that its partition is given back")


def test_a_pool_that_is_taken_out_of_the_file_gets_its_partitions_back(
    runs: Pool, start: Start, tmp_path: Path
) -> None:
    first = start()
    runs.create("last")
    until(lambda: runs.pod_of("last"), what="the pod")
    first.kill()
    (tmp_path / "runtimes.yaml").write_text(WITHOUT_POOL, encoding="utf-8")
    second = start(name="b")
    until(second.acts, what="the second replica has its turn")
    runs.finish("last")
    until(lambda: runs.reason("last")[0] == "Succeeded", what="Succeeded")
    until(lambda: runs.leases() == {}, what="that its partition is given back")


def test_installations_with_other_namespaces_share_a_pool(runs: Pool, start: Start, api: client.ApiClient) -> None:
    other = Namespace(api)
    start("--partition-namespace", other.name)
    runs.create("here", ipus=8)
    until(lambda: runs.pod_of("here"), what="the pod")
    there = Pool(other)
    assert (runs.leases(), list(there.holders().values())) == ({}, ["here"])
    start(
        "--namespace",
        other.name,
        "--partition-namespace",
        other.name,
        name="b",
        environment={"POD_NAMESPACE": other.name},
    )
    there.create("there", ipus=8)
    until(lambda: there.reason("there")[0] == "WaitingForPartition", what="that the other one waits")
    assert there.holders() == {"p8": "here"}
    runs.finish("here")
    until(lambda: there.holders() == {"p8": "there"}, what="that the other one has its turn")
    other.core.delete_namespace(other.name)


def test_a_pod_without_a_lease_keeps_its_partition(runs: Pool, start: Start) -> None:
    """Somebody deletes the Lease, or the operator was installed anew in another namespace."""
    start()
    runs.create("one", ipus=8)
    until(lambda: runs.pod_of("one"), what="the pod")
    lease = runs.leases()["p8"]
    runs.create("two", ipus=8)
    until(lambda: runs.reason("two")[0] == "WaitingForPartition", what="that the second one waits")
    runs.api.delete_namespaced_lease(lease.metadata.name, runs.place.name)
    until(lambda: runs.holders() == {"p8": "one"}, what="that the first one has its Lease again")
    assert runs.leases()["p8"].metadata.uid != lease.metadata.uid
    assert runs.pod_of("two") is None


def test_a_frozen_leader_that_wakes_neither_takes_nor_gives_away(runs: Pool, start: Start) -> None:
    sleeper = start(name="sleeper", environment=SHORT_LEASE)
    runs.create("one", ipus=8)
    until(lambda: runs.pod_of("one"), what="the pod")
    sleeper.signal(signal.SIGSTOP)
    waker = start(name="waker", environment=SHORT_LEASE)
    until(waker.acts, what="the second replica has its turn")
    runs.finish("one")
    until(lambda: runs.leases() == {}, what="that the partition is given back")
    runs.create("two", ipus=8)
    pod = until(lambda: runs.pod_of("two"), what="the pod of the second run")
    held = runs.leases()["p8"].metadata.uid
    sleeper.signal(signal.SIGCONT)
    assert sleeper.process.wait(60) == 1
    assert runs.leases()["p8"].metadata.uid == held
    again = runs.pod_of("two")
    assert again is not None
    assert again.metadata.uid == pod.metadata.uid


def test_ten_runs_on_two_partitions_while_the_operator_is_killed(runs: Pool, start: Start) -> None:
    names = [f"run-{number}" for number in range(10)]
    for name in names:
        runs.create(name)
    most: Counter[str] = Counter()
    finished: list[str] = []
    replica = start()
    while len(finished) < len(names):
        pods = at_work(runs)
        most |= Counter(environment(pod)["IPUOF_VIPU_API_PARTITION_ID"] for pod in pods)
        for pod in pods:
            name = pod.metadata.labels["whisperfinetune.dev/run-name"]
            if name not in finished:
                runs.finish(name)
                finished.append(name)
        if len(finished) in (3, 6):
            replica = replaced(replica, start)
            finished_before = len(finished)
            until(lambda before=finished_before: len(at_work(runs)) > 0 or before == 10, what="the next one")
    until(lambda: {runs.reason(name)[0] for name in names} == {"Succeeded"}, what="all Succeeded")
    assert set(most.values()) == {1}
    until(lambda: runs.leases() == {}, what="that all are given back")


def replaced(replica: OperatorProcess, start: Callable[..., OperatorProcess]) -> OperatorProcess:
    replica.kill()
    return start()


def at_work(runs: Pool) -> list[client.V1Pod]:
    pods = runs.place.core.list_namespaced_pod(runs.place.name).items
    return [pod for pod in pods if pod.status.phase in ("Pending", "Running")]
