"""A replica of the operator on the model of the API server. It reconciles what it sees. A test says when it sends."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from api_server_model import Door, Server
from whisper_finetune_operator.acting.actor import Actor
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.acting.event_poster import EventPoster
from whisper_finetune_operator.acting.installations import Installation, OtherInstallations
from whisper_finetune_operator.acting.partition_actor import PartitionActor, PartitionCluster
from whisper_finetune_operator.api.errors import ClusterError
from whisper_finetune_operator.api.leader_election import LeaseLostError
from whisper_finetune_operator.deciding import partition_steps
from whisper_finetune_operator.kubernetes_objects import labels_of, uid_of
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.reconcile import Reconciler
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook

NAMESPACE = "speech"
KINDS = ("leases", "jobs", "pods", "whisperfinetunes")
OFFERED = Runtimes.model_validate(
    {
        "runtimes": [
            {
                "name": "pod16",
                "accelerator": "ipu",
                "image": "trainer:1",
                "partitions": {
                    "apiHost": "10.5.1.1",
                    "pool": [{"id": "p4a", "ipus": 4}, {"id": "p4b", "ipus": 4}, {"id": "p8", "ipus": 8}],
                },
            }
        ]
    }
)


#: The runtime before it had a pool.
WITHOUT_POOL = Runtimes.model_validate(
    {
        "runtimes": [
            {"name": "pod16", "accelerator": "ipu", "image": "trainer:1", "resource": "c600.graphcore.ai/ipu"},
        ]
    }
)


def at_host(host: str) -> Runtimes:
    """Return the same pool at another address of the V-IPU server."""
    changed = OFFERED.model_dump(by_alias=True)
    changed["runtimes"][0]["partitions"]["apiHost"] = host
    return Runtimes.model_validate(changed)


OWN = Installation()


class Replica:
    """A leader: its view of the cluster, and its way to it. Frozen, it is no leader any more when it wakes."""

    def __init__(
        self,
        server: Server,
        offered: Runtimes = OFFERED,
        watched: str | None = None,
        installation: Installation = OWN,
    ) -> None:
        self.server = server
        self.door: Any = Door(server)
        self.leads = True
        inventory = offered.inventory
        self.store = ObjectCache(PartitionBook(lambda run: partition_steps.queue_entry_of(run, offered), inventory))
        metrics = Metrics()
        poster = EventPoster(self.door, metrics, instance="model")
        cluster, leases = (
            Cluster(self.door, installation),
            PartitionCluster(self.door, NAMESPACE, watched, lambda: inventory),
        )
        partitions = PartitionActor(self.store, cluster, leases, require_leadership=self._require)
        self.reconciler = Reconciler(
            self.store,
            Actor(self.store, cluster, partitions, poster, metrics, require_leadership=self._require),
            lambda: offered,
            OtherInstallations(installation, poster),
            metrics,
            require_leadership=self._require,
        )
        self.frozen: asyncio.Task[Any] | None = None

    def _require(self) -> None:
        if not self.leads:
            raise LeaseLostError("another leads")

    def see(self, *, what: tuple[str, ...] = KINDS) -> None:
        """Bring the view up to date."""
        store, book = self.store, self.store.partitions
        put: dict[str, Callable[[Any], object]] = {
            "leases": book.put_lease,
            "jobs": lambda job: store.put_workload("Job", job),
            "pods": store.put_pod,
            "whisperfinetunes": store.put_run,
        }
        known: dict[str, dict[str, Any]] = {
            "leases": {uid_of(each): each for each in book.leases()},
            "jobs": {uid_of(each): each for each in store.workloads("Job")},
            "pods": {uid_of(each): each for each in store.pods()},
            "whisperfinetunes": {run.uid: run.uid for run in store.runs()},
        }
        forget: dict[str, Any] = {
            "leases": book.forget_lease,
            "jobs": lambda job: store.forget_workload("Job", job),
            "pods": store.forget_pod,
            "whisperfinetunes": store.forget_run,
        }
        for kind in what:
            there = [each for each in self.server.of(kind) if kind != "leases" or PARTITION_LABEL in labels_of(each)]
            for each in there:
                put[kind](each)
            for uid in known[kind].keys() - {uid_of(each) for each in there}:
                forget[kind](known[kind][uid])

    async def look(self, run_uid: str) -> None:
        """Look at a run, until it is done or a request of it is held up."""
        task = asyncio.create_task(self.reconciler.reconcile(run_uid))
        held = asyncio.create_task(self.door.holding.wait())
        await asyncio.wait((task, held), return_when=asyncio.FIRST_COMPLETED)
        held.cancel()
        if not task.done():
            self.frozen, self.leads = task, False
            return
        with contextlib.suppress(ClusterError):
            task.result()

    async def wake(self) -> None:
        """Let the request that was held up arrive, and what follows it be refused by the replica's own clock."""
        self.door.open.set()
        if self.frozen:
            with contextlib.suppress(ClusterError, LeaseLostError):
                await self.frozen
