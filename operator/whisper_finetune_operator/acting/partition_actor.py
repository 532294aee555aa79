"""Take, keep and give back V-IPU partitions, by the Leases that stand for them and the pods that use them."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from whisper_finetune_operator import next_steps
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.api.api_server import LEASES, PODS, ApiServer
from whisper_finetune_operator.api.errors import ConflictError, NotFoundError
from whisper_finetune_operator.kubernetes_objects import (
    KubernetesObject,
    controller_of,
    labels_of,
    run_name_of,
    run_uid_of,
)
from whisper_finetune_operator.next_steps import GiveBackPartition
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL, PartitionLease
from whisper_finetune_operator.partitions.pools import Inventory, is_lease_name_for
from whisper_finetune_operator.planning.pod_template import PARTITION_ID_VARIABLE
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.workloads import children

logger = logging.getLogger(__name__)

_NOT_ENDED = "status.phase!=Succeeded,status.phase!=Failed"
#: How often the partition of a run that is gone is checked while something of the run is left.
LEFTOVERS_REQUEUE_SECONDS = 10.0


class PartitionCluster:
    """The Leases of one namespace, which installations may share. Requests raise the errors of ApiServer."""

    def __init__(
        self,
        api: ApiServer,
        lease_namespace: str,
        watched_namespace: str | None,
        inventory: Callable[[], Inventory],
    ) -> None:
        self._api = api
        self._inventory = inventory
        self._namespace = lease_namespace
        self._watched = watched_namespace

    async def pods_on(self, lease_name: str) -> list[KubernetesObject]:
        """Return the pods that may still be running on the partition, by their own words and whatever Leases say."""
        pods = self._api.all_of(PODS, self._watched, labelSelector=PARTITION_LABEL, fieldSelector=_NOT_ENDED)
        return [pod async for pod in pods if self._keeps(pod, lease_name)]

    def _keeps(self, pod: KubernetesObject, lease_name: str) -> bool:
        """Return whether label and trainer agree.

        A pod's label can be changed, and the variables of its trainer cannot.
        """
        told = children.trainer_environment_of(pod).get(PARTITION_ID_VARIABLE, "")
        named = labels_of(pod)[PARTITION_LABEL]
        return lease_name in self._inventory().kept_by(named) and is_lease_name_for(named, told)

    def can_judge(self, lease: PartitionLease) -> bool:
        """Return whether this installation would see what is left of the run that has the partition."""
        return self._watched in (None, lease.run_namespace)

    async def take(self, lease: KubernetesObject) -> KubernetesObject:
        """Create the Lease. Raises ConflictError where somebody has the partition."""
        metadata = {**lease["metadata"], "namespace": self._namespace}
        return await self._api.create(LEASES, {**lease, "metadata": metadata})

    async def find(self, lease_name: str) -> KubernetesObject | None:
        return await self._api.find(LEASES, self._namespace, lease_name)

    async def renew(self, lease: KubernetesObject) -> KubernetesObject:
        """Write the Lease anew and return it.

        Raises ConflictError or NotFoundError where it is no longer the one given.
        """
        return await self._api.replace(LEASES, partition_leases.renewed_lease(lease, datetime.now(UTC)))

    async def give_back(self, lease: GiveBackPartition) -> None:
        """Delete the Lease. Raises ConflictError where it is no longer the one that was seen."""
        seen = {"uid": lease.uid, "resourceVersion": lease.resource_version}
        try:
            await self._api.ask(
                "delete", LEASES, LEASES.path(self._namespace, lease.name), body={"preconditions": seen}
            )
        except NotFoundError:
            return


class PartitionActor:
    """Writes Leases, and notes in the book what came of it."""

    def __init__(
        self, cache: ObjectCache, cluster: Cluster, leases: PartitionCluster, *, require_leadership: Callable[[], None]
    ) -> None:
        self._cache = cache
        self._book = cache.partitions
        self._cluster = cluster
        self._leases = leases
        self._require_leadership = require_leadership

    async def take(self, run: Run, wanted: next_steps.TakePartition) -> None:
        """Create the Lease, and note in the book who has it then."""
        name: str = wanted.lease["metadata"]["name"]
        others = [pod for pod in await self._leases.pods_on(name) if run_uid_of(pod) != run.uid]
        if keeper := next(filter(self._is_attempt, others), None):
            logger.warning("%s is not taken: %s is on it without a Lease", name, _named(keeper), extra=about(run))
            self._book.note_in_use(name, _named(keeper))
            return
        for pod in others:
            logger.warning("%s of %s is not believed: no run made it", _named(pod), name, extra=about(run))
        self._require_leadership()
        try:
            self._book.put_lease(await self._leases.take(wanted.lease))
        except ConflictError:
            await self._read_anew(name)
            return
        logger.info("%s taken", name, extra=about(run))

    async def renew(self, name: str) -> bool:
        """Write the Lease anew. Return False where it is no longer what the book says."""
        lease = self._book.lease(name)
        if lease is None:
            return False
        try:
            self._book.put_lease(await self._leases.renew(lease))
        except (ConflictError, NotFoundError):
            await self._read_anew(name)
            return False
        return True

    async def give_back(self, lease: next_steps.GiveBackPartition) -> bool:
        """Delete the Lease. Return False where it is no longer what the book says."""
        try:
            await self._leases.give_back(lease)
        except ConflictError:
            await self._read_anew(lease.name)
            return False
        self._book.forget_lease({"metadata": {"name": lease.name, "uid": lease.uid}})
        logger.info("%s given back", lease.name)
        return True

    async def give_back_of_deleted(self, run_uid: str) -> float | None:
        """Give back the partitions of a run that no longer exists.

        While something of the run is left nothing is given back, and the seconds until the next try are returned.
        """
        leases = map(partition_leases.read_lease, self._book.leases_of(run_uid))
        for lease in filter(self._leases.can_judge, leases):
            self._require_leadership()
            if await self._is_left(lease):
                return LEFTOVERS_REQUEUE_SECONDS
            self._require_leadership()
            for action in next_steps.give_back([lease]):
                await self.give_back(action)
        return None

    async def _is_left(self, lease: PartitionLease) -> bool:
        """Return whether the API server still has the run, or a Job or pod of it that is not over."""
        namespace, uid = lease.run_namespace, lease.run_uid
        if await self._cluster.has_run(namespace, lease.run_name, uid):
            return True
        if await self._cluster.has_unfinished_workloads(namespace, uid):
            return True
        pods = await self._cluster.pods_of(namespace, lease.run_name, uid)
        return not all(map(children.has_ended, pods))

    def _is_attempt(self, pod: KubernetesObject) -> bool:
        """Return whether a run made the pod. A pod that lost its Job counts while its run is known in its namespace."""
        uid = run_uid_of(pod)
        run = self._cache.run(uid)
        is_at_home = run is not None and run.namespace == pod["metadata"]["namespace"]
        return children.is_attempt_of(pod, run_name_of(pod), uid) and (is_at_home or bool(controller_of(pod)))

    async def _read_anew(self, name: str) -> None:
        lease = await self._leases.find(name)
        known = self._book.lease(name)
        if lease is not None and partition_leases.partition_of(lease):
            self._book.put_lease(lease)
        elif known is not None:
            self._book.forget_lease(known)
        if lease is not None and self._book.lease(name) is None:
            # Somebody else's Lease, without the label. No watch would tell of its end, so it is tried again now and
            # then.
            self._book.note_in_use(name, f"Lease {lease['metadata']['namespace']}/{name} without the operator's label")


def _named(pod: KubernetesObject) -> str:
    return f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
