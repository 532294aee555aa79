"""What is done about a run with a partition when the API server knows more than the cache that was decided on."""

import random
from typing import Any

from api_server_model import Server
from replica_model import NAMESPACE, OFFERED, Replica
from run_objects import complete, time
from specs import MINIMAL
from whisper_finetune_operator import next_steps
from whisper_finetune_operator.acting.actor import Actor
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.acting.event_poster import EventPoster
from whisper_finetune_operator.acting.partition_actor import PartitionActor, PartitionCluster
from whisper_finetune_operator.kubernetes_objects import uid_of
from whisper_finetune_operator.next_steps import Action, GiveBackPartition, StartWorkload
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.workloads.job_kind import JOB


class Scene:
    """A run that has a partition, and who acts on it."""

    def __init__(self) -> None:
        self.server = Server(random.Random(1))  # noqa: S311 (no secret)
        self.replica = Replica(self.server)
        self.store, door, metrics = self.replica.store, self.replica.door, Metrics()
        cluster, leases = Cluster(door), PartitionCluster(door, NAMESPACE, None, lambda: OFFERED.inventory)
        partitions = PartitionActor(self.store, cluster, leases, require_leadership=lambda: None)
        poster = EventPoster(door, metrics, instance="model")
        self.actor = Actor(self.store, cluster, partitions, poster, metrics, require_leadership=lambda: None)

    async def begin(self) -> None:
        """Let the run take its partition and have a pod on it."""
        spec = {**MINIMAL, "model": "openai/whisper-small", "runtime": "pod16", "ipus": 8}
        metadata = {"name": "one", "namespace": NAMESPACE, "creationTimestamp": time(1)}
        body = {"metadata": metadata, "spec": spec, "status": {"observedGeneration": -1}}
        self.uid = uid_of(self.server.put("whisperfinetunes", body))
        for _ in range(2):
            self.replica.see()
            await self.replica.look(self.uid)
        for job in self.server.of("jobs"):
            self.server.control_job(job, [])
        self.replica.see()

    async def act(self, *wanted: Action) -> bool:
        run = self.store.run(self.uid)
        assert run
        return await self.actor.act(run, wanted)

    def give_back(self) -> GiveBackPartition:
        """Return what gives back the partition as the store knows it."""
        (action,) = next_steps.give_back(map(partition_leases.read_lease, self.store.partitions.leases_of(self.uid)))
        return action

    def the(self, plural: str) -> dict[str, Any]:
        (found,) = self.server.of(plural)
        return found

    def remove(self, plural: str) -> None:
        self.server.objects = {place: each for place, each in self.server.objects.items() if place[0] != plural}


async def test_nothing_is_done_after_an_action_that_failed() -> None:
    scene = Scene()
    await scene.begin()
    first = scene.give_back()
    scene.remove("jobs")
    scene.remove("pods")
    scene.server.changed(scene.the("leases"))
    second = GiveBackPartition(first.name, first.uid, scene.the("leases")["metadata"]["resourceVersion"])
    assert not await scene.act(first, second)
    assert scene.the("leases")


async def test_a_pod_that_the_store_takes_for_gone_keeps_the_partition() -> None:
    scene = Scene()
    await scene.begin()
    scene.remove("jobs")
    scene.store.forget_pod(scene.the("pods"))
    assert not await scene.act(scene.give_back())
    assert scene.the("leases")


async def test_news_of_a_pod_that_has_ended_keeps_no_partition() -> None:
    scene = Scene()
    await scene.begin()
    scene.remove("jobs")
    scene.the("pods")["status"] = {"phase": "Succeeded"}
    scene.server.changed(scene.the("pods"))
    assert await scene.act(scene.give_back())
    assert scene.server.of("leases") == []


async def test_a_job_that_the_store_takes_for_gone_keeps_the_partition_until_it_is_over() -> None:
    scene = Scene()
    await scene.begin()
    scene.remove("pods")
    scene.store.forget_workload("Job", scene.the("jobs"))
    assert not await scene.act(scene.give_back())
    assert scene.the("leases")
    scene.the("jobs")["status"]["conditions"] = [complete(50)]
    assert await scene.act(scene.give_back())
    assert scene.server.of("leases") == []


async def test_no_job_is_started_whose_lease_is_no_longer_what_the_store_shows() -> None:
    scene = Scene()
    await scene.begin()
    job, lease = scene.the("jobs"), scene.the("leases")
    job["spec"]["suspend"] = True
    scene.server.changed(job)
    names = job["metadata"]["name"], job["metadata"]["uid"], job["metadata"]["resourceVersion"]
    start = StartWorkload(JOB.name, *names, lease["metadata"]["name"])
    scene.server.changed(lease)
    assert not await scene.act(start)
    assert job["spec"]["suspend"]
    assert await scene.act(start)
    assert not job["spec"]["suspend"]
