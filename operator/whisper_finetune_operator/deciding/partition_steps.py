"""What to do about a run on a runtime with a pool of partitions: wait, take one, use it, mend what went wrong. Pure.

A Job on a partition is made suspended and started by its UID and version: a leader that was frozen while it made one
cannot start it any more once the partition went to another run (docs/architecture.md).
"""

from whisper_finetune_operator.deciding import giving_back, pod_steps
from whisper_finetune_operator.deciding.actions import Action, StartWorkload, TakePartition, delete_workload
from whisper_finetune_operator.deciding.course import NextStep
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_queue import Waiting
from whisper_finetune_operator.partitions.pools import PoolPartition
from whisper_finetune_operator.phases import NOT_STARTED, RETRYING, Phase
from whisper_finetune_operator.planning.plan import TrainingPlan
from whisper_finetune_operator.workloads.workload_kind import Workload


def partition_of_run(situation: Situation, wanted: Waiting) -> PoolPartition | None:
    """Return the partition that the run has, if its runtime's pool still has it and it is large enough."""
    names = [lease.name for lease in situation.leases]
    return next((partition for partition in wanted.fitting if partition.lease_name in names), None)


def queue_or_take(situation: Situation, wanted: Waiting, plan: TrainingPlan) -> NextStep:
    """Return the course of a run that has no partition (that fits)."""
    line = situation.line.joined_by(wanted)
    if partition := line.turns.get(wanted.uid):
        lease = partition_leases.build(situation.run, partition.lease_name, partition.id, situation.now)
        return NextStep(NOT_STARTED, (*situation.giving_back, TakePartition(lease)), plan=plan)
    place, waiting = line.place_of(wanted.uid)
    message = "; ".join((f"{_ordinal(place)} of {waiting} waiting for {wanted.ipus} IPUs", *line.kept_from(wanted)))
    return NextStep(Phase("Queued", "WaitingForPartition", message), situation.giving_back, plan=plan)


def give_back_others(situation: Situation, used: str) -> tuple[Action, ...]:
    """Return what gives back a second partition, which another leader took for the run."""
    job_uid = situation.workload.uid if situation.workload else None
    if any(pod.owner_uid != job_uid for pod in situation.busy):
        return ()
    return giving_back.give_back(lease for lease in situation.leases if lease.name != used)


def mend_partition(situation: Situation, job: Workload) -> NextStep | None:
    """Return the course of a Job on a partition that must be started or mended first; None where all is well."""
    if job.partition is None or job.end:
        return None
    if any(lease.name == job.partition for lease in situation.leases):
        is_new = job.suspended and not job.started_before
        return _started(situation, job, job.partition) if is_new and not situation.busy else None
    # Under a name that the file does not lead to, its partition may be another run's by now.
    is_known = job.partition in situation.line.inventory.names
    if job.suspended or not is_known or job.partition in situation.line.taken:
        delete = delete_workload(job, "its partition is another run's")
        message = "its Job was made for a partition that it does not have; the next one waits for its turn"
        return NextStep(pod_steps.pod_phase(situation, RETRYING, message), (delete,))
    # Somebody deleted the Lease under a Job at work.
    lease = partition_leases.build(situation.run, job.partition, job.partition_id or job.partition, situation.now)
    message = "the Lease of its partition is gone, and is taken again"
    return NextStep(pod_steps.pod_phase(situation, RETRYING, message), (TakePartition(lease),))


def _started(situation: Situation, job: Workload, lease: str) -> NextStep:
    start = StartWorkload(job.kind.name, job.name, job.uid, job.resource_version, lease)
    return NextStep(pod_steps.retry_phase(situation) or NOT_STARTED, (start,))


def _ordinal(number: int) -> str:
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
