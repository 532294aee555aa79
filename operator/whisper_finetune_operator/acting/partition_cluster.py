"""What reconciling asks of the cluster about V-IPU partitions: their Leases, and the pods that use them."""

from datetime import UTC, datetime

from whisper_finetune_operator.api.api_server import LEASES, PODS, ApiServer, NotFoundError
from whisper_finetune_operator.deciding.actions import GiveBackPartition
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL, PartitionLease
from whisper_finetune_operator.partitions.pools import Inventory, is_name_for
from whisper_finetune_operator.planning.pod_template import PARTITION_ID_VARIABLE
from whisper_finetune_operator.workloads import children
from whisper_finetune_operator.world import KubernetesObject

_NOT_ENDED = "status.phase!=Succeeded,status.phase!=Failed"


class PartitionCluster:
    """The Leases of one namespace, which installations may share. Each request may raise as ApiServer's do."""

    def __init__(
        self, api: ApiServer, lease_namespace: str, watched_namespace: str | None, inventory: Inventory
    ) -> None:
        self._api = api
        self._inventory = inventory
        self._namespace = lease_namespace
        self._watched = watched_namespace

    async def pods_on(self, lease_name: str) -> list[KubernetesObject]:
        """Return the pods that say they may still be running on the partition, whatever Leases say."""
        pods = self._api.all_of(PODS, self._watched, labelSelector=PARTITION_LABEL, fieldSelector=_NOT_ENDED)
        return [pod async for pod in pods if self._keeps(pod, lease_name)]

    def _keeps(self, pod: KubernetesObject, lease_name: str) -> bool:
        """Return whether label and trainer agree: a label can be changed under a pod, its trainer's variables not."""
        told = children.trainer_environment_of(pod).get(PARTITION_ID_VARIABLE, "")
        named = children.labels_of(pod)[PARTITION_LABEL]
        return lease_name in self._inventory.kept_by(named) and is_name_for(named, told)

    def can_judge(self, lease: PartitionLease) -> bool:
        """Return whether this installation would know of what is left of the run that has the partition."""
        return self._watched in (None, lease.run_namespace)

    async def take(self, lease: KubernetesObject) -> KubernetesObject:
        """Create the Lease; ConflictError where somebody has the partition."""
        place = {**lease["metadata"], "namespace": self._namespace}
        return await self._api.create(LEASES, {**lease, "metadata": place})

    async def find(self, lease_name: str) -> KubernetesObject | None:
        return await self._api.find(LEASES, self._namespace, lease_name)

    async def renew(self, lease: KubernetesObject) -> KubernetesObject:
        """Write the Lease anew and return it; ConflictError or NotFoundError where it is no longer the one given."""
        return await self._api.replace(LEASES, partition_leases.renewed(lease, datetime.now(UTC)))

    async def give_back(self, lease: GiveBackPartition) -> None:
        """Delete the Lease; ConflictError where it is no longer the one that was seen."""
        seen = {"uid": lease.uid, "resourceVersion": lease.resource_version}
        try:
            await self._api.ask(
                "delete", LEASES, LEASES.path(self._namespace, lease.name), body={"preconditions": seen}
            )
        except NotFoundError:
            return
