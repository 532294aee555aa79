"""When a partition is given back: its run can start no further pod, and every pod of it has ended or is gone. Pure."""

from collections.abc import Iterable

from whisper_finetune_operator.deciding.actions import GiveBackPartition
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_leases import PartitionLease
from whisper_finetune_operator.workloads import pods, workloads
from whisper_finetune_operator.world import World


def where_idle(world: World) -> tuple[GiveBackPartition, ...]:
    """Return what gives back all that a run has, where it has no pod at work and no Job that could make one."""
    if not world.leases or not _is_idle(world):
        return ()
    return of(map(partition_leases.read, world.leases))


def of(leases: Iterable[PartitionLease]) -> tuple[GiveBackPartition, ...]:
    """Return what gives these Leases back."""
    return tuple(GiveBackPartition(lease.name, lease.uid, lease.resource_version) for lease in leases)


def _is_idle(world: World) -> bool:
    """Return whether no pod is at work, one on an unreachable node included, and no workload could make another."""
    shown = tuple(map(pods.read, world.pods))
    workload = workloads.read(world.workload, shown) if world.workload else None
    could_make_another = workload is not None and workload.owner_uid == world.run.uid and workload.end is None
    return not could_make_another and all(pod.ended for pod in shown)
