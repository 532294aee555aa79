"""Pods with a run's labels that no run made. Whoever may create a pod can give it any label."""

import json
import logging
import random
from typing import Any

import pytest

from api_server_model import Server
from replica_model import NAMESPACE, OFFERED, Replica
from run_objects import CHILD, NAME, UID, ended, job, pod, run_object, running, time
from specs import MINIMAL
from whisper_finetune_api.run import CONFIG_ENV
from whisper_finetune_api.v1alpha1 import NAME_LABEL, UID_LABEL
from whisper_finetune_operator.kubernetes_objects import uid_of
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.observability.scraped_figures import PartitionFigures
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL
from whisper_finetune_operator.partitions.partition_queue import QueuedRun
from whisper_finetune_operator.runs import Run, child_name
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.workloads.children import is_attempt_of

_, _, P8 = OFFERED.inventory.members
TOLD_TO_TRAIN_IT = [{"name": "trainer", "env": [{"name": CONFIG_ENV, "value": json.dumps({"uid": UID})}]}]
SLEEP = [{"name": "sleep"}]


def labelled(containers: list[dict[str, Any]], **metadata: Any) -> dict[str, Any]:
    """Return a running pod with the run's labels; `metadata` as it is to be."""
    made = running(20, 21)
    fields = {"resourceVersion": "20", "ownerReferences": [], **metadata}
    return {**made, "metadata": {**made["metadata"], **fields}, "spec": {"containers": containers}}


def owner(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"kind": kind, "name": name, "uid": "owner", "controller": True}]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (labelled(SLEEP), False),
        (labelled(TOLD_TO_TRAIN_IT), True),
        (labelled(TOLD_TO_TRAIN_IT, labels={UID_LABEL: "another"}), False),
        (labelled(SLEEP, ownerReferences=owner("Job", CHILD)), True),
        (labelled(SLEEP, ownerReferences=owner("IPUJob", CHILD)), True),
        (labelled(SLEEP, ownerReferences=owner("Job", "another")), False),
        (labelled(TOLD_TO_TRAIN_IT, ownerReferences=owner("Job", "another")), False),
        (labelled(SLEEP, ownerReferences=owner("ReplicaSet", CHILD)), False),
        (labelled(SLEEP, ownerReferences=[{**owner("Job", CHILD)[0], "controller": False}]), False),
        (labelled(SLEEP, name=f"{CHILD}-worker-0", ownerReferences=owner("StatefulSet", f"{CHILD}-worker")), True),
        (labelled(SLEEP, name=f"{CHILD}-worker-0"), False),
        ({**labelled([]), "spec": {}}, False),
        (labelled([{"name": "trainer", "env": [{"name": CONFIG_ENV, "value": "no JSON"}]}]), False),
    ],
    ids=[
        "nobody's",
        "orphan",
        "another run's label",
        "Job's",
        "IPUJob's",
        "another Job's",
        "another Job's, told to train it",
        "ReplicaSet's",
        "owned and not controlled",
        "IPUJob's worker by another controller",
        "nobody's worker",
        "without containers",
        "with a configuration that is none",
    ],
)
def test_which_pods_are_attempts(made: dict[str, Any], *, expected: bool) -> None:
    assert is_attempt_of(made, NAME, UID) is expected


def waiting(run: Run) -> QueuedRun:
    return QueuedRun(run.uid, (run.created, run.namespace, run.name), 8, (P8,))


def store_with_run() -> ObjectCache:
    store = ObjectCache(PartitionBook(waiting, OFFERED.inventory))
    fields = {**run_object()["metadata"], "resourceVersion": "10"}
    store.put_run({**run_object(), "metadata": fields})
    return store


@pytest.mark.parametrize(
    "foreign",
    [
        labelled(TOLD_TO_TRAIN_IT, namespace="elsewhere"),
        labelled(SLEEP, namespace="elsewhere", ownerReferences=owner("Job", CHILD)),
        labelled(SLEEP),
    ],
    ids=["another namespace's", "another namespace's Job's", "nobody's"],
)
def test_a_foreign_pod_is_seen_nowhere_and_takes_no_run_out_of_the_line(foreign: dict[str, Any]) -> None:
    store = store_with_run()
    store.put_pod(foreign)
    run = store.run(UID)
    assert run is not None
    assert (store.pods_of(run), list(store.attempts())) == ((), [])
    assert [each.uid for each in store.partitions.queue().in_order()] == [UID]


def test_a_foreign_pod_that_ended_and_went_leaves_nothing_behind() -> None:
    store = store_with_run()
    gone = ended(20, 21, 30, 0)
    store.forget_pod({**gone, "metadata": {**gone["metadata"], "resourceVersion": "20", "namespace": "elsewhere"}})
    assert list(store.pods()) == []


@pytest.mark.parametrize(
    ("made", "is_waiting"),
    [({}, False), ({"namespace": "elsewhere"}, True), ({"name": "another"}, True)],
    ids=["its own", "another namespace's", "under another name"],
)
def test_a_job_takes_a_run_out_of_the_line_only_as_its_child(made: dict[str, Any], *, is_waiting: bool) -> None:
    store = store_with_run()
    store.put_workload("Job", {**job(), "metadata": {**job()["metadata"], "resourceVersion": "11", **made}})
    assert bool(store.partitions.queue().lines) is is_waiting


def test_a_pod_seen_before_its_run_counts_as_soon_as_the_run_is_seen() -> None:
    store = ObjectCache(PartitionBook(waiting, OFFERED.inventory))
    seen = pod(20)
    store.put_pod({**seen, "metadata": {**seen["metadata"], "resourceVersion": "9"}, "spec": {"containers": []}})
    fields = {**run_object()["metadata"], "resourceVersion": "10"}
    store.put_run({**run_object(), "metadata": fields})
    assert store.partitions.queue().lines == {}


class Pool:
    """A run that wants the one partition of eight IPUs, and a pod of somebody else that says it is on it."""

    def __init__(self) -> None:
        self.server = Server(random.Random(1))  # noqa: S311 (no secret)
        self.leader = Replica(self.server)
        self.first = self.create("first", 1)

    def create(self, name: str, created: int) -> str:
        spec = {**MINIMAL, "model": "openai/whisper-small", "runtime": "pod16", "ipus": 8}
        metadata = {"name": name, "namespace": NAMESPACE, "creationTimestamp": time(created)}
        body = {"metadata": metadata, "spec": spec, "status": {"observedGeneration": -1}}
        return uid_of(self.server.put("whisperfinetunes", body))

    def put_pod(self, run_uid: str, partition_id: str, **metadata: Any) -> None:
        """Let a pod run whose label names the partition, and whose trainer was told of another or the same one."""
        told = [
            {"name": "IPUOF_VIPU_API_PARTITION_ID", "value": partition_id},
            {"name": CONFIG_ENV, "value": json.dumps({"uid": run_uid})},
        ]
        labels = {PARTITION_LABEL: P8.lease_name, UID_LABEL: run_uid, NAME_LABEL: "other"}
        body = {
            "metadata": {"name": "there", "namespace": "team-b", "labels": labels, "ownerReferences": [{}], **metadata},
            "spec": {"containers": [{"name": "trainer", "env": told}]},
            "status": {"phase": "Running"},
        }
        self.server.put("pods", body)

    async def look(self) -> list[str]:
        """Look at the run, and return who has a Lease."""
        for _ in range(2):
            self.leader.see()
            await self.leader.look(self.first)
        return [lease["metadata"]["labels"][UID_LABEL] for lease in self.server.of("leases")]

    def message(self) -> str:
        run = self.leader.store.run(self.first)
        assert run is not None
        (found,) = {each["message"] for each in run.status["conditions"] if each["type"] == "Succeeded"}
        return str(found)


CHILD_OF_GONE = owner("Job", child_name("other", "gone"))


@pytest.mark.parametrize(
    ("partition_id", "metadata"),
    [("p8", {}), ("p4a", {"ownerReferences": CHILD_OF_GONE}), ("p8", {"ownerReferences": owner("Job", "sleep")})],
    ids=["nobody's", "a run's, relabelled", "another Job's"],
)
async def test_a_foreign_pod_keeps_no_partition_and_is_named(
    partition_id: str, metadata: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    pool = Pool()
    pool.put_pod("gone", partition_id, **metadata)
    with caplog.at_level(logging.WARNING):
        assert await pool.look() == [pool.first]
    if partition_id == "p8":
        assert f"pod team-b/there of {P8.lease_name} is not believed: no run made it" in caplog.text


async def test_a_pod_of_a_run_keeps_its_partition_and_is_named_in_message_and_metric() -> None:
    pool = Pool()
    pool.put_pod("gone", "p8", ownerReferences=CHILD_OF_GONE)
    assert await pool.look() == []
    assert pool.message() == "1st of 1 waiting for 8 IPUs; partition p8 is kept by pod team-b/there"
    metrics = Metrics()
    partitions = pool.leader.store.partitions
    metrics.add_collector(PartitionFigures(partitions.uses, partitions.in_use))
    expected = f'wft_partition_kept{{by="pod team-b/there",lease="{P8.lease_name}"}} 1.0'
    assert expected in metrics.text().decode()
    assert 'wft_partitions{ipus="8",use="kept"} 1.0' in metrics.text().decode()


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_pod_that_lost_its_job_keeps_its_partition_while_its_run_is_known(*, is_known: bool) -> None:
    pool = Pool()
    other = pool.create("other", 2) if is_known else "gone"
    pool.put_pod(other, "p8", namespace=NAMESPACE)
    assert await pool.look() == ([] if is_known else [pool.first])


async def test_a_foreign_pod_does_not_keep_the_partition_of_a_deleted_run() -> None:
    pool = Pool()
    await pool.look()
    for plural in ("jobs", "pods", "whisperfinetunes"):
        pool.server.objects = {place: each for place, each in pool.server.objects.items() if place[0] != plural}
    labels = {UID_LABEL: pool.first, NAME_LABEL: "first", PARTITION_LABEL: P8.lease_name}
    sleeping = {"name": "sleep", "namespace": NAMESPACE, "labels": labels}
    body = {"metadata": sleeping, "spec": {"containers": SLEEP}, "status": {"phase": "Running"}}
    pool.server.put("pods", body)
    assert await pool.look() == []
