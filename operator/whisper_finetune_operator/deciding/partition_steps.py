"""What to do about a run on a runtime with partitions: wait, take one, use it, correct what went wrong. Pure.

A Job on a partition is made suspended and started by its UID and version. So a leader that froze while it made a Job
cannot start it any more once the partition has gone to another run (docs/architecture.md).

A run whose pod does not get to run gives its partition back and joins the queue again later. A namespace that is set up
badly must not keep a partition from everybody else for as long as nobody corrects it.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from whisper_finetune_api.v1alpha1 import PartitionBackOff
from whisper_finetune_operator.back_off import doubled_wait
from whisper_finetune_operator.deciding import outcomes, pod_steps
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.kubernetes_objects import parse_time, render_time
from whisper_finetune_operator.next_steps import (
    NOT_STARTED,
    RETRYING,
    Action,
    NextStep,
    Phase,
    PhaseReason,
    Pinned,
    StartWorkload,
    TakePartition,
    condition_of,
    delete_workload,
    give_back,
)
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_queue import QueuedRun
from whisper_finetune_operator.partitions.pools import PoolPartition
from whisper_finetune_operator.planning import plan
from whisper_finetune_operator.planning.plan import TrainingPlan
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.workloads.workload_kind import Workload

#: How long a run keeps a partition while something that somebody has to correct keeps its pod from running.
PATIENCE = timedelta(minutes=5)
#: The same where no such cause is known: the node may be pulling an image of many gigabytes.
PATIENCE_WITHOUT_A_CAUSE = timedelta(hours=1)
#: How long a run then stays out of the queue. It doubles each time.
FIRST_BACK_OFF, LAST_BACK_OFF = timedelta(minutes=5), timedelta(hours=1)
#: Up to this number of runs that wait, each is told its position and their number.
_EXACT = 20
_CAUSES = (
    "PodRefused",
    "VolumeNotFound",
    "VolumeNotMounted",
    "SecretNotFound",
    "ImagePullFailed",
    "Unschedulable",
    "WaitingForQuota",
)


def partition_of_run(situation: Situation, wanted: QueuedRun) -> PoolPartition | None:
    """Return the partition that the run has, if it is still in its runtime's pool and large enough."""
    names = [lease.name for lease in situation.leases]
    return next((partition for partition in wanted.fitting if partition.lease_name in names), None)


def queue_or_take(situation: Situation, wanted: QueuedRun, plan: TrainingPlan) -> NextStep:
    """Return the step of a run that has no partition, or none that fits."""
    queue = situation.partition_queue.joined_by(wanted)
    if partition := queue.turns.get(wanted.uid):
        lease = partition_leases.build_lease(situation.run, partition.lease_name, partition.id, situation.now)
        return NextStep(NOT_STARTED, (*situation.giving_back, TakePartition(lease)), pinned=plan.pinned)
    position, waiting = queue.position_of(wanted)
    standing = f"{describe_position(position, waiting)} waiting for {wanted.ipus} IPUs"
    message = "; ".join((standing, *queue.kept_from(wanted)))
    return NextStep(Phase("Queued", "WaitingForPartition", message), situation.giving_back, pinned=plan.pinned)


def give_back_others(situation: Situation, used: str) -> tuple[Action, ...]:
    """Return what gives back a second partition, which another leader took for the run."""
    job_uid = situation.workload.uid if situation.workload else None
    if any(pod.owner_uid != job_uid for pod in situation.busy):
        return ()
    return give_back(lease for lease in situation.leases if lease.name != used)


def mend_partition(situation: Situation, job: Workload) -> NextStep | None:
    """Return the step of a Job on a partition that must be started or corrected first, or None where all is well."""
    if job.partition is None or job.end:
        return None
    if any(lease.name == job.partition for lease in situation.leases):
        is_new = job.suspended and not job.started_before
        return _started(situation, job, job.partition) if is_new and not situation.busy else None
    # Where the admin's file no longer leads to the name, the partition may be another run's by now.
    is_known = job.partition in situation.partition_queue.inventory.names
    if job.suspended or not is_known or job.partition in situation.partition_queue.taken:
        delete = delete_workload(job, "its partition is another run's")
        message = "its Job was made for a partition that it does not have; the next one waits for its turn"
        return NextStep(pod_steps.pod_phase(situation, RETRYING, message), (delete,))
    # Somebody deleted the Lease while its Job is at work.
    lease = partition_leases.build_lease(situation.run, job.partition, job.partition_id or job.partition, situation.now)
    message = "the Lease of its partition is gone, and is taken again"
    return NextStep(pod_steps.pod_phase(situation, RETRYING, message), (TakePartition(lease),))


def _started(situation: Situation, job: Workload, lease: str) -> NextStep:
    start = StartWorkload(job.kind.name, job.name, job.uid, job.resource_version, lease)
    return NextStep(outcomes.retry_phase(situation) or NOT_STARTED, (start,))


def describe_position(position: int, waiting: int) -> str:
    """Return a position among so many that wait, in words.

    Large numbers are round ones. Otherwise each run that comes or goes would change the status of thousands.
    """
    if waiting <= _EXACT:
        return f"{_ordinal(position)} of {waiting}"
    many = f"{_rounded_down(waiting):,} or more"
    if position <= _EXACT:
        return f"{_ordinal(position)} of {many}"
    return f"behind {_rounded_down(position - 1):,} or more, of {many}"


def _rounded_down(number: int) -> int:
    """Return the number with its first digit and zeros."""
    step: int = 10 ** (len(str(number)) - 1)
    return number // step * step


def _ordinal(number: int) -> str:
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def limit_patience(situation: Situation, step: NextStep) -> NextStep:
    """Return the step, or the one that gives the partition back where its pod has not run for too long."""
    if situation.lease is None or _runs(situation):
        return step
    patience = PATIENCE if step.phase.reason in _CAUSES else PATIENCE_WITHOUT_A_CAUSE
    left = _held_in_vain_since(situation) + patience - situation.now
    if left <= timedelta():
        return _given_back(situation, step.phase)
    seconds = min(left.total_seconds(), step.requeue_seconds or left.total_seconds())
    return replace(step, requeue_seconds=seconds)


def stay_out_of_queue(situation: Situation, back_off: PartitionBackOff) -> NextStep | None:
    """Return the step of a run that gave its partition back not long ago, None for any other run."""
    told = condition_of(situation.previous.conditions, "Succeeded")
    if back_off.until is None or told is None or _runs(situation):
        return None
    left = parse_time(back_off.until) - situation.now
    if left <= timedelta():
        return None
    # As another version may have written it.
    phase = Phase("Pending", cast(PhaseReason, told.reason), told.message)
    return NextStep(phase, _withdrawn(situation), left.total_seconds(), back_off=back_off)


def back_off_to_write(situation: Situation, step: NextStep, known: PartitionBackOff) -> PartitionBackOff | None:
    """Return what the status remembers of partitions given back. It forgets the count once a pod runs.

    The time until which the run stays out of the queue is remembered while it is to come.
    """
    if step.back_off or _runs(situation):
        return step.back_off
    return PartitionBackOff(times=known.times)


def partition_back_off(times: int) -> timedelta:
    """Return how long a run that gave its partition back so many times stays out of the queue."""
    return doubled_wait(FIRST_BACK_OFF, times, LAST_BACK_OFF)


def _runs(situation: Situation) -> bool:
    pod = situation.at_work
    return pod is not None and (pod.running or pod.exit_code is not None)


def _held_in_vain_since(situation: Situation) -> datetime:
    """Return since when no pod has run on the partition.

    That is when it was taken, when its Job was made, or when the last attempt ended.
    """
    lease, workload = situation.lease, situation.workload
    ends = (pod.finished_at for pod in situation.pods if pod.started_at)
    moments = (lease.acquired if lease else None, workload.created if workload else None, *ends)
    return max(moment for moment in moments if moment)


def _given_back(situation: Situation, phase: Phase) -> NextStep:
    known = situation.previous.partition_back_off
    times = known.times + 1 if known else 1
    wait = partition_back_off(times)
    until = render_time(situation.now + wait)
    # This comes first, because the words of the cluster may be too long for a message.
    message = f"its partition is given back, and it joins the queue again at {until}: {phase.message}"
    back_off = PartitionBackOff(times=times, until=until)
    told = Phase("Pending", phase.reason, message)
    return NextStep(told, _withdrawn(situation), wait.total_seconds(), back_off=back_off)


def _withdrawn(situation: Situation) -> tuple[Action, ...]:
    """Return what deletes the workload or, once that is gone, gives the partition back."""
    workload = situation.workload
    if workload is None:
        return situation.giving_back
    return (delete_workload(workload, "no pod of it gets to run on its partition"),)


def queue_entry_of(run: Run, runtimes: Runtimes) -> QueuedRun | None:
    """Return what the run waits for while it has no partition, or None where it wants none for now.

    Its spec alone decides, so that a run that has not been reconciled yet keeps its position.
    """
    stays_out = run.deletion or run.spec.get("suspend") or "completionTime" in run.status
    stays_out = stays_out or is_blocked(run) or "until" in run.status.get("partitionBackOff", {})
    stays_out = stays_out or "nextAttemptTime" in run.status
    if stays_out or not runtimes.have_pools:
        return None
    pinned = Pinned(run.status.get("runtime"), run.status.get("ipus"))
    planned = plan.plan_run(run, pinned, runtimes)
    return None if isinstance(planned, Phase) else queue_entry_of_plan(planned)


def queue_entry_of_plan(planned: TrainingPlan) -> QueuedRun | None:
    """Return what a planned run waits for, or None where its runtime has no pool."""
    run, pool, ipus = planned.run, planned.runtime.partitions, planned.config.ipus
    if pool is None or ipus is None:
        return None
    return QueuedRun(run.uid, (run.created, run.namespace, run.name), ipus, pool.fitting(ipus))


def is_blocked(run: Run) -> bool:
    """Return whether somebody else's object has the child's name. Such a run must not keep others from a partition."""
    conditions = run.status.get("conditions") or ()
    return any(each.get("type") == "Succeeded" and each.get("reason") == "NameConflict" for each in conditions)
