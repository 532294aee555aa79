"""When a partition is given back: its run can start no further pod, and every pod of it has ended or is gone. Pure."""

from collections.abc import Iterable

from whisper_finetune_operator import jobs, partition_leases, pods
from whisper_finetune_operator.actions import GiveBackPartition
from whisper_finetune_operator.partition_leases import PartitionLease
from whisper_finetune_operator.world import KubernetesObject, World


def where_idle(world: World) -> tuple[GiveBackPartition, ...]:
    """Return what gives back all that a run has, where it has no pod at work and no Job that could make one."""
    if not world.leases or not _is_idle(world.run.uid, world.job, world.pods):
        return ()
    return of(map(partition_leases.read, world.leases))


def of(leases: Iterable[PartitionLease]) -> tuple[GiveBackPartition, ...]:
    """Return what gives these Leases back."""
    return tuple(GiveBackPartition(lease.name, lease.uid, lease.resource_version) for lease in leases)


def _is_idle(run_uid: str, raw_job: KubernetesObject | None, raw_pods: Iterable[KubernetesObject]) -> bool:
    """Return whether no pod is at work, one on an unreachable node included, and no Job could make another."""
    job = jobs.read(raw_job) if raw_job else None
    could_make_another = job is not None and job.owner_uid == run_uid and job.end is None
    return not could_make_another and all(pods.read(pod).ended for pod in raw_pods)
