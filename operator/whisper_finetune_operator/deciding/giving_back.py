"""When a partition is given back: its run can start no further pod, and every pod of it has ended or is gone. Pure."""

from collections.abc import Iterable

from whisper_finetune_operator.deciding.actions import GiveBackPartition
from whisper_finetune_operator.partitions.partition_leases import PartitionLease


def give_back(leases: Iterable[PartitionLease]) -> tuple[GiveBackPartition, ...]:
    """Return what gives these Leases back."""
    return tuple(GiveBackPartition(lease.name, lease.uid, lease.resource_version) for lease in leases)
