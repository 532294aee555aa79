"""Each request of a leader that was frozen while sending it. It arrives when another run may have the partition."""

import random
from typing import Any

import pytest

from api_server_model import Server, held_in_vain, is_at_work, let_back_off_end, partition_of
from replica_model import NAMESPACE, OFFERED, WITHOUT_POOL, Replica, at_host
from run_objects import job_failed, time
from specs import MINIMAL
from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.kubernetes_objects import run_uid_of, uid_of
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL

P4A, _, P8 = OFFERED.inventory.members


class Stage:
    """Runs that want the one partition of eight IPUs."""

    def __init__(self) -> None:
        self.server = Server(random.Random(1))  # noqa: S311 (no secret)
        self.leader = Replica(self.server)

    def create(self, name: str, created: int, *, ipus: int = 8) -> str:
        spec = {**MINIMAL, "model": "openai/whisper-small", "runtime": "pod16", "ipus": ipus}
        metadata = {"name": name, "namespace": NAMESPACE, "creationTimestamp": time(created)}
        body = {"metadata": metadata, "spec": spec, "status": {"observedGeneration": -1}}
        return uid_of(self.server.put("whisperfinetunes", body))

    def change(self, uid: str, **spec: Any) -> None:
        (run,) = [run for run in self.server.of("whisperfinetunes") if uid_of(run) == uid]
        run["spec"] = {**run["spec"], **spec}
        run["metadata"]["generation"] += 1
        self.server.changed(run)

    async def look(self, uid: str, *, rounds: int = 1) -> None:
        """Let the leader see everything and look at a run, so many times."""
        for _ in range(rounds):
            self.leader.see()
            await self.leader.look(uid)

    async def freeze(self, uid: str, verb: str, plural: str) -> Replica:
        """Freeze the leader while it sends such a request about a run, and let another one lead."""
        self.leader.door.hold(verb, plural)
        await self.look(uid)
        frozen, self.leader = self.leader, Replica(self.server)
        assert frozen.frozen, f"it sent no {verb} of {plural}"
        return frozen

    def holders(self) -> list[str]:
        return [run_uid_of(lease) for lease in self.server.of("leases")]

    def at_work(self) -> list[str]:
        return [run_uid_of(pod) for pod in self.server.of("pods") if is_at_work(pod)]

    def rename_partition(self, name: str) -> None:
        """Let the Lease, the Jobs and the pods name the partition as another version of the operator does."""
        for plural in ("leases", "jobs", "pods"):
            for each in self.server.of(plural):
                each["metadata"]["labels"][PARTITION_LABEL] = name
                self.server.changed(each)
        (lease,) = self.server.of("leases")
        del self.server.objects["leases", NAMESPACE, lease["metadata"]["name"]]
        lease["metadata"]["name"] = name
        self.server.objects["leases", NAMESPACE, name] = lease

    def start_pods(self) -> None:
        """Let the Job controller make the pods that it owes, and none of them end."""
        for job in self.server.of("jobs"):
            own = [pod for pod in self.server.of("pods") if run_uid_of(pod) == run_uid_of(job)]
            if not job["spec"].get("suspend") and "deletionTimestamp" not in job["metadata"]:
                self.server.control_job(job, own)

    def remove_pods(self) -> None:
        """Let all pods be gone."""
        self.server.objects = {place: each for place, each in self.server.objects.items() if place[0] != "pods"}

    def end_pods(self) -> None:
        """Let all pods and Jobs that are being deleted be gone."""
        self.remove_pods()
        for job in self.server.of("jobs"):
            if "deletionTimestamp" in job["metadata"]:
                del self.server.objects["jobs", NAMESPACE, job["metadata"]["name"]]


async def test_a_late_job_has_no_pod_and_is_deleted() -> None:
    stage = Stage()
    first, second = stage.create("first", 1), stage.create("second", 2)
    frozen = await stage.freeze(first, "create", "jobs")
    stage.change(first, suspend=True)
    await stage.look(first)
    assert stage.holders() == []
    await stage.look(second, rounds=2)
    stage.start_pods()
    assert (stage.holders(), stage.at_work()) == ([second], [second])
    await frozen.wake()
    stage.start_pods()
    assert stage.at_work() == [second]
    stage.change(first, suspend=False)
    await stage.look(first)
    (late,) = [job for job in stage.server.of("jobs") if run_uid_of(job) == first]
    assert "deletionTimestamp" in late["metadata"]


async def test_a_late_start_of_a_job_finds_it_gone() -> None:
    stage = Stage()
    first, second = stage.create("first", 1), stage.create("second", 2)
    frozen = await stage.freeze(first, "patch", "jobs")
    stage.change(first, suspend=True)
    await stage.look(first)
    stage.end_pods()
    await stage.look(first)
    await stage.look(second, rounds=2)
    stage.start_pods()
    await frozen.wake()
    stage.start_pods()
    assert (stage.holders(), stage.at_work()) == ([second], [second])


async def test_a_late_deletion_of_a_lease_leaves_the_one_that_is_in_use_again() -> None:
    stage = Stage()
    first = stage.create("first", 1)
    await stage.look(first)
    stage.change(first, suspend=True)
    await stage.look(first)
    stage.end_pods()
    frozen = await stage.freeze(first, "delete", "leases")
    stage.change(first, suspend=False)
    await stage.look(first, rounds=2)
    stage.start_pods()
    assert stage.at_work() == [first]
    await frozen.wake()
    assert stage.holders() == [first]


async def test_a_late_deletion_of_a_lease_leaves_its_successor() -> None:
    stage = Stage()
    first, second = stage.create("first", 1), stage.create("second", 2)
    await stage.look(first)
    stage.change(first, suspend=True)
    await stage.look(first)
    stage.end_pods()
    frozen = await stage.freeze(first, "delete", "leases")
    await stage.look(first)
    await stage.look(second)
    assert stage.holders() == [second]
    await frozen.wake()
    assert stage.holders() == [second]


async def test_a_late_renewal_makes_no_job() -> None:
    stage = Stage()
    first, second = stage.create("first", 1), stage.create("second", 2)
    frozen = await stage.freeze(first, "replace", "leases")
    stage.change(first, suspend=True)
    await stage.look(first)
    await stage.look(second)
    await frozen.wake()
    assert stage.holders() == [second]
    assert {run_uid_of(job) for job in stage.server.of("jobs")} == {second}


async def test_a_late_lease_is_given_back() -> None:
    stage = Stage()
    first = stage.create("first", 1)
    frozen = await stage.freeze(first, "create", "leases")
    stage.change(first, suspend=True)
    await stage.look(first)
    await frozen.wake()
    assert stage.holders() == [first]
    await stage.look(first)
    assert stage.holders() == []


async def test_a_pod_that_no_watch_has_shown_yet_keeps_the_partition() -> None:
    stage = Stage()
    first = stage.create("first", 1)
    await stage.look(first, rounds=2)
    stage.change(first, suspend=True)
    await stage.look(first)
    job = stage.server.of("jobs")[0]
    stage.server.control_job({**job, "metadata": {**job["metadata"]}}, [])
    stage.server.objects = {place: each for place, each in stage.server.objects.items() if place[0] != "jobs"}
    stage.leader.see(what=("leases", "jobs", "whisperfinetunes"))
    await stage.leader.look(first)
    assert stage.holders() == [first]
    assert partition_of(stage.server.of("pods")[0]) == "p8"


async def test_the_partition_of_a_deleted_run_is_kept_while_anything_of_it_is_left() -> None:
    stage = Stage()
    first = stage.create("first", 1)
    await stage.look(first, rounds=2)
    stage.start_pods()
    del stage.server.objects["whisperfinetunes", NAMESPACE, "first"]
    stage.leader.see(what=("leases", "whisperfinetunes"))
    for left in ("jobs", "pods", ""):
        await stage.leader.look(first)
        assert stage.holders() == ([first] if left else [])
        stage.server.objects = {place: each for place, each in stage.server.objects.items() if place[0] != left}


async def test_a_finished_job_that_a_deleted_run_left_behind_keeps_no_partition() -> None:
    stage = Stage()
    first = stage.create("first", 1)
    await stage.look(first, rounds=2)
    del stage.server.objects["whisperfinetunes", NAMESPACE, "first"]
    (job,) = stage.server.of("jobs")
    job["status"]["conditions"] = [job_failed(50)]
    await stage.look(first)
    assert stage.holders() == []


@pytest.mark.parametrize("suspend", [True, False])
async def test_a_pod_without_a_lease_keeps_others_off_its_partition(*, suspend: bool) -> None:
    stage = Stage()
    first = stage.create("first", 1)
    await stage.look(first, rounds=2)
    stage.start_pods()
    stage.server.objects = {place: each for place, each in stage.server.objects.items() if place[0] != "leases"}
    second = stage.create("second", 2)
    stage.change(first, suspend=suspend)
    await stage.look(second)
    assert stage.holders() == []
    assert stage.at_work() == [first]
    await stage.look(first)
    assert stage.holders() == ([] if suspend else [first])
    assert suspend or not [job for job in stage.server.of("jobs") if "deletionTimestamp" in job["metadata"]]


@pytest.mark.parametrize("labels", [{}, {PARTITION_LABEL: P4A.lease_name}], ids=["without the label", "with it"])
async def test_who_keeps_a_partition_by_a_lease_of_his_own_keeps_nobody_from_the_others(labels: dict[str, str]) -> None:
    stage = Stage()
    body = {"name": P4A.lease_name, "namespace": NAMESPACE, "labels": labels}
    kept = uid_of(stage.server.put("leases", {"metadata": body, "spec": {"holderIdentity": "the admin"}}))
    runs = [stage.create(name, place, ipus=4) for place, name in enumerate(("first", "second"))]
    for run in runs:
        await stage.look(run, rounds=2)
    stage.start_pods()
    assert stage.at_work() == runs
    assert [partition_of(pod) for pod in stage.server.of("pods")] == ["p4b", "p8"]
    assert kept in map(uid_of, stage.server.of("leases"))


async def test_a_partition_that_was_kept_without_a_label_is_tried_again() -> None:
    stage = Stage()
    body = {"name": P8.lease_name, "namespace": NAMESPACE}
    stage.server.put("leases", {"metadata": body, "spec": {}})
    first = stage.create("first", 1)
    await stage.look(first, rounds=3)
    assert stage.holders() == [""]
    stage.server.objects = {place: each for place, each in stage.server.objects.items() if place[0] != "leases"}
    stage.leader.store.partitions.forget_in_use()
    await stage.look(first)
    assert stage.holders() == [first]


async def test_a_partition_whose_server_is_spelled_in_another_way_is_still_taken() -> None:
    stage = Stage()
    first, second = stage.create("first", 1), stage.create("second", 2)
    await stage.look(first, rounds=2)
    stage.start_pods()
    stage.leader = Replica(stage.server, at_host("vipu.example."))
    for run in (second, first):
        await stage.look(run, rounds=2)
    stage.start_pods()
    assert (stage.holders(), stage.at_work()) == ([first], [first])


@pytest.mark.parametrize("lost", [False, True], ids=["with its Lease", "and its Lease is gone"])
async def test_a_partition_that_an_earlier_version_named_by_its_server_is_still_taken(*, lost: bool) -> None:
    stage = Stage()
    first, second = stage.create("first", 1), stage.create("second", 2)
    await stage.look(first, rounds=2)
    stage.start_pods()
    stage.rename_partition("partition-p8-0badcafe")
    if lost:
        stage.server.objects = {place: each for place, each in stage.server.objects.items() if place[0] != "leases"}
    stage.leader = Replica(stage.server)
    for run in (second, first):
        await stage.look(run, rounds=2)
    stage.start_pods()
    assert stage.at_work() == [first]
    assert stage.holders() == ([] if lost else [first])
    stage.end_pods()
    if not lost:
        stage.change(first, suspend=True)
        await stage.look(first)
        stage.end_pods()
    stage.leader.store.partitions.forget_in_use()
    await stage.look(first, rounds=2)
    await stage.look(second, rounds=2)
    stage.start_pods()
    assert stage.holders() == stage.at_work() == ([first] if lost else [second])


async def test_a_run_that_began_before_its_runtime_had_a_pool_goes_on_and_keeps_nobody_waiting() -> None:
    stage = Stage()
    stage.leader = Replica(stage.server, WITHOUT_POOL)
    first, second = stage.create("first", 1), stage.create("second", 2)
    stage.change(second, suspend=True)
    await stage.look(first, rounds=2)
    stage.start_pods()
    stage.leader = Replica(stage.server)
    stage.change(second, suspend=False)
    for run in (first, second, first):
        await stage.look(run, rounds=2)
    stage.start_pods()
    assert (stage.holders(), stage.at_work()) == ([second], [first, second])
    stage.server.objects = {
        place: each
        for place, each in stage.server.objects.items()
        if place[0] not in ("jobs", "pods") or run_uid_of(each) != first
    }
    await stage.look(first, rounds=2)
    assert stage.holders() == [second]
    assert message_of(stage, first) == "1st of 1 waiting for 8 IPUs"


@pytest.mark.parametrize("kueue", [False, True], ids=["by hand", "as Kueue does, which resets the start time"])
async def test_a_job_that_somebody_suspends_is_not_started_again(*, kueue: bool) -> None:
    stage = Stage()
    first = stage.create("first", 1)
    await stage.look(first, rounds=2)
    stage.start_pods()
    (job,) = stage.server.of("jobs")
    assert job["spec"]["suspend"] is False
    job["spec"]["suspend"] = True
    if kueue:
        del job["status"]["startTime"]
    stage.server.changed(job)
    stage.remove_pods()
    await stage.look(first, rounds=2)
    assert job["spec"]["suspend"] is True
    assert stage.holders() == [first]
    assert "somebody suspended its Job" in message_of(stage, first)
    job["spec"]["suspend"] = False
    stage.server.changed(job)
    stage.start_pods()
    await stage.look(first)
    assert stage.at_work() == [first]


async def test_a_run_whose_pod_cannot_start_lets_others_have_its_partition_and_costs_no_retry() -> None:
    stage = Stage()
    first, second = stage.create("first", 1), stage.create("second", 2)
    await stage.look(first, rounds=2)
    stage.start_pods()
    await stage.look(second)
    held_in_vain(stage.server, stage.server.of("leases")[0])
    await stage.look(first)
    assert stage.holders() == [first]
    await stage.look(second)
    stage.end_pods()
    await stage.look(first)
    await stage.look(second, rounds=2)
    stage.start_pods()
    assert (stage.holders(), stage.at_work()) == ([second], [second])
    (run,) = [run for run in stage.server.of("whisperfinetunes") if uid_of(run) == first]
    assert (run["status"]["partitionBackOff"]["times"], run["status"]["attempts"]["failed"]) == (1, 0)
    assert message_of(stage, first).startswith("its partition is given back, and it joins the queue again at ")
    await stage.look(first)
    let_back_off_end(stage.server, run)
    await stage.look(first)
    assert message_of(stage, first) == "1st of 1 waiting for 8 IPUs"
    assert run["status"]["partitionBackOff"] == {"times": 1}


async def test_a_job_that_lost_its_label_gets_it_back() -> None:
    stage = Stage()
    first = stage.create("first", 1)
    await stage.look(first, rounds=2)
    (job,) = stage.server.of("jobs")
    stage.leader.store.forget_workload("Job", job)
    del job["metadata"]["labels"][UID_LABEL]
    stage.server.changed(job)
    await stage.leader.look(first)
    assert run_uid_of(job) == first
    assert [uid_of(each) for each in stage.leader.store.workloads("Job")] == [uid_of(job)]


@pytest.mark.parametrize(("watched", "kept"), [("another-team", True), (NAMESPACE, False), (None, False)])
async def test_the_partition_of_a_run_that_another_installation_watches_is_not_given_back(
    watched: str | None, *, kept: bool
) -> None:
    stage = Stage()
    first = stage.create("first", 1)
    await stage.look(first, rounds=2)
    # This one sees neither the run, nor what is left of it.
    stage.server.objects = {place: each for place, each in stage.server.objects.items() if place[0] == "leases"}
    stage.leader = Replica(stage.server, watched=watched)
    await stage.look(first)
    assert stage.holders() == ([first] if kept else [])
    second = stage.create("second", 2)
    await stage.look(second)
    assert stage.holders() == ([first] if kept else [second])


async def test_a_run_on_a_pool_that_is_no_longer_offered_goes_on_and_gives_its_partition_back() -> None:
    stage = Stage()
    first = stage.create("first", 1)
    await stage.look(first, rounds=2)
    stage.start_pods()
    stage.leader = Replica(stage.server, WITHOUT_POOL)
    await stage.look(first, rounds=2)
    assert (stage.holders(), stage.at_work()) == ([first], [first])
    stage.change(first, suspend=True)
    await stage.look(first)
    stage.end_pods()
    await stage.look(first)
    assert stage.holders() == []


def message_of(stage: Stage, uid: str) -> str:
    """Return why the run waits."""
    (run,) = [run for run in stage.server.of("whisperfinetunes") if uid_of(run) == uid]
    return str(run["status"]["conditions"][0]["message"])
