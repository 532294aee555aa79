"""What to do about a run whose workload is there, by who makes its next attempt. Pure.

A controller that tries again, such as a Job's, makes the run's pods one after the other. Any other workload makes one
pod, and the operator makes another workload for each further attempt.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from whisper_finetune_operator.deciding import outcomes, partition_steps, pod_steps
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.kubernetes_objects import parse_time
from whisper_finetune_operator.next_steps import (
    ENDING,
    NOT_STARTED,
    Action,
    AllowRetries,
    EndWorkload,
    MoveToQueue,
    NextStep,
    Phase,
    ReadQueue,
    ReadRefusal,
    delete_workload,
    retry_seconds,
)
from whisper_finetune_operator.workloads import job_kind
from whisper_finetune_operator.workloads.workload_kind import QUEUE_LABEL, Workload
from whisper_finetune_operator.world import Refusal

#: The Events of a Job that has wanted a pod for so long, and has none, are read.
_POD_EXPECTED_AFTER = timedelta(seconds=3)
_SETTLING_REQUEUE_SECONDS = 3.0
#: Kueue makes the Workload of a Job moments after the Job, and then says why it waits.
_KUEUE_SPEAKS_WITHIN = timedelta(seconds=20)
_BY_HAND = (
    "its Job is suspended, by hand or by Kueue, which may manage Jobs without a queue; "
    "whoever suspended it has to resume it"
)
_IN_QUEUE = (
    "Kueue has not admitted its Job from queue {queue} yet, or somebody suspended the Job by hand; "
    "kubectl -n {namespace} get workloads tells what it waits for"
)
_IN_QUEUE_SAYS = "Kueue has not admitted its Job from queue {queue}: {message}"
_INADMISSIBLE = (
    "; kubectl -n {namespace} get localqueues lists the queues, and the run's label "
    + QUEUE_LABEL
    + " names another one"
)
_DEACTIVATED = (
    "its Workload is deactivated{message}; once the cause is mended, kubectl -n {namespace} patch workload {workload} "
    """--type merge -p '{{"spec":{{"active":true}}}}' queues it again"""
    "; to stop the run, set spec.suspend"
)
_TAKEN_BACK = "its Job was suspended, by Kueue or by hand: "
_ELSEWHERE = (
    "queue {queue} sends the Job to another cluster ({manager}), whose pod cannot be read from here, nor its result; "
    "suspend the run, label it with another queue, and resume it"
)
_DONE_UNSEEN = (
    "its Job is complete, and no pod of it was ever seen in this cluster: if queue {queue} sends Jobs to another one "
    "(MultiKueue), whose results cannot be read from here, suspend the run, label it with another queue, and resume "
    "it; if the Job ran here, suspend and resume the run: the next attempt reports what is done"
)
_SUSPENDED_ON_PARTITION = (
    "somebody suspended its Job, by hand or as Kueue does with manageJobsWithoutQueueName, and has to resume it; to "
    "stop a run, set spec.suspend"
)
_PODS_END_UNKNOWN = "its Job is over, and its pod's end is not in sight yet"


def next_step_of_workload(situation: Situation) -> NextStep | None:
    """Return the next step of a run whose workload is there, or None where there is none."""
    workload = situation.workload
    if workload is None:
        return None
    if workload.kind.is_retried_by_its_controller:
        return _next_step_of_controlled(situation, workload)
    return _next_step_of_single_pod(situation, workload)


def stop_workload(workload: Workload) -> tuple[Action, ...]:
    """Return what keeps a live workload from having pods. A workload that is over stays to be read."""
    if workload.end:
        return ()
    return _stop_controlled(workload) if workload.kind.is_retried_by_its_controller else _stop_single_pod(workload)


def _next_step_of_controlled(situation: Situation, job: Workload) -> NextStep:
    """Return the step of a run that is not over."""
    mended = partition_steps.mend_partition(situation, job) if job.partition else None
    step = mended or _limited(situation, job)
    spare = partition_steps.give_back_others(situation, job.partition) if job.partition else ()
    return replace(step, actions=(*spare, *step.actions)) if spare else step


def _limited(situation: Situation, job: Workload) -> NextStep:
    step = _find(situation, job)
    return partition_steps.limit_patience(situation, step) if job.partition and not job.end else step


def _find(situation: Situation, job: Workload) -> NextStep:
    if job.managed_by or _was_done_elsewhere(situation, job):
        return _elsewhere(job)
    if job.end:
        return _after_end(situation, job)
    if situation.at_work:
        step = pod_steps.next_step_of_pod(situation, situation.at_work)
        phase = pod_steps.stopping_phase(situation, _TAKEN_BACK) if job.suspended else step.phase
        return replace(step, phase=phase, actions=(*_allow_retries(situation, job), *step.actions))
    return _suspended(situation, job) if job.suspended else _without_pod(situation, job)


def _suspended(situation: Situation, job: Workload) -> NextStep:
    """Return the step of a Job that Kueue, or somebody, keeps from having a pod.

    The Job follows the run to its queue.
    """
    allow = _allow_retries(situation, job)
    if job.partition:
        return NextStep(Phase("Queued", "WaitingForQuota", _SUSPENDED_ON_PARTITION), allow)
    queue = situation.run.labels.get(QUEUE_LABEL, job.queue)
    move = (MoveToQueue(job.kind.name, job.name, job.uid, queue),) if queue and queue != job.queue else ()
    if not queue:
        return NextStep(Phase("Queued", "WaitingForQuota", _BY_HAND), allow)
    phase = Phase("Queued", "WaitingForQuota", _words_of_queue(situation, queue))
    return NextStep(phase, (*allow, *move, ReadQueue(job.uid)), _ask_queue_again(situation, job))


def _words_of_queue(situation: Situation, queue: str) -> str:
    """Return why Kueue has not admitted the Job. What it said while the Job was in another queue no longer counts."""
    notice, namespace = situation.queue_notice, situation.run.namespace
    if notice is None or notice.queue != queue:
        return _IN_QUEUE.format(queue=queue, namespace=namespace)
    if notice.kind == "Deactivated":
        said = f" ({notice.message})" if notice.message else ""
        return _DEACTIVATED.format(message=said, namespace=namespace, workload=notice.workload)
    to_do = _INADMISSIBLE.format(namespace=namespace) if notice.kind == "Inadmissible" else ""
    return _IN_QUEUE_SAYS.format(queue=queue, message=notice.message) + to_do


def _ask_queue_again(situation: Situation, job: Workload) -> float:
    """Return when to ask Kueue again. No watch tells when its words change, but one does when it admits the Job."""
    finished_at = situation.pods[-1].finished_at if situation.pods else None
    waited = situation.now - max(filter(None, (job.created, finished_at)))
    early = situation.queue_notice is None and waited < _KUEUE_SPEAKS_WITHIN
    return _SETTLING_REQUEUE_SECONDS if early else retry_seconds(waited, situation.run.uid)


def _was_done_elsewhere(situation: Situation, job: Workload) -> bool:
    """Return whether a Job of a queue is complete without a pod that was ever seen. To train again would be in vain."""
    complete = job.end is not None and job.end.type == "Complete"
    return bool(job.queue) and complete and not situation.counts.attempts.started


def _elsewhere(job: Workload) -> NextStep:
    told = _ELSEWHERE if job.managed_by else _DONE_UNSEEN
    message = told.format(queue=job.queue or "of the Job", manager=job.managed_by)
    return NextStep(Phase.waiting("QueueNotSupported", message))


def _after_end(situation: Situation, job: Workload) -> NextStep:
    """Return the step of a run whose Job is over and that is not.

    Its result could not be read, or its pod's end is not in sight yet.
    """
    until = situation.counts.attempts.counted_until
    counted = until is not None and job.end is not None and job.end.at <= parse_time(until)
    if counted and job.end and job.end.type == "Complete":
        delete = delete_workload(job, "its result cannot be read: another attempt reports it")
        return NextStep(outcomes.retry_phase(situation) or NOT_STARTED, (delete,))
    # While the pod is shown at work its phase stays: the two watches seldom differ by more than moments.
    pod = situation.at_work
    shown = pod_steps.running_phase(situation, pod) if pod else Phase.waiting(ENDING, _PODS_END_UNKNOWN)
    return NextStep(shown, requeue_seconds=_SETTLING_REQUEUE_SECONDS)


def _without_pod(situation: Situation, job: Workload) -> NextStep:
    allow = _allow_retries(situation, job)
    newest = situation.pods[-1] if situation.pods else None
    ask = ReadRefusal(job.kind.name, job.name, job.uid)
    if situation.refusal and (newest is None or situation.refusal.seen_at > newest.created):
        again = retry_seconds(situation.now - situation.refusal.refused_since, situation.run.uid)
        return NextStep(refused_phase(situation.refusal), (*allow, ask), again)
    phase = outcomes.retry_phase(situation) or NOT_STARTED
    if renew := outcomes.withdraw_interrupted(situation, job):
        return NextStep(phase, renew)
    if job.started_at is None:
        return NextStep(phase, allow)
    wanted_since = max(filter(None, (job.started_at, newest.finished_at if newest else None)))
    still_early = _POD_EXPECTED_AFTER - (situation.now - wanted_since)
    if still_early > timedelta():
        return NextStep(phase, allow, still_early.total_seconds())
    return NextStep(phase, (*allow, ask), retry_seconds(situation.now - wanted_since, situation.run.uid))


def refused_phase(refusal: Refusal) -> Phase:
    """Return the phase of a run whose workload or pod the API server refuses."""
    return Phase.waiting("PodRefused", f"the cluster refuses it, which its admin can change: {refusal.message}")


def _allow_retries(situation: Situation, job: Workload) -> tuple[Action, ...]:
    # A Job whose limit is below what has failed already would end the attempt at work.
    retries = max(situation.spec.retries, situation.counts.attempts.failed)
    limit = job_kind.backoff_limit(retries, job.failed_before)
    return () if limit == job.backoff_limit else (AllowRetries(job.kind.name, job.name, job.uid, limit),)


def _stop_controlled(job: Workload) -> tuple[Action, ...]:
    """Return what keeps a live Job from having pods. It stays to be read, unless it cannot end by itself."""
    if job.end or (job.active_deadline_seconds == 1 and not job.suspended):
        return ()
    if job.suspended:
        # The deadline of a suspended Job does not run, and Kueue could start it.
        return (delete_workload(job, "the run is over"),)
    return (EndWorkload(job.kind.name, job.name, job.uid),)


def _next_step_of_single_pod(situation: Situation, workload: Workload) -> NextStep:
    """Return the step of a run that is not over."""
    if situation.at_work:
        return pod_steps.next_step_of_pod(situation, situation.at_work)
    phase = outcomes.retry_phase(situation)
    over_since = _over_since(situation, workload)
    if over_since is None:
        return NextStep(phase or _not_started(workload))
    wait = over_since + workload.kind.back_off(situation.counts.attempts.failed) - situation.now
    if wait > timedelta() and not outcomes.withdraw_interrupted(situation, workload):
        # Its pod stays until then, with its log.
        return NextStep(phase or NOT_STARTED, requeue_seconds=wait.total_seconds())
    delete = delete_workload(workload, "its pod is over: another attempt needs another one")
    return NextStep(phase or NOT_STARTED, (delete,))


def _stop_single_pod(workload: Workload) -> tuple[Action, ...]:
    """Return what ends the workload's pod. A workload that has ended stays to be read."""
    return () if workload.end else (delete_workload(workload, "the run is over"),)


def _over_since(situation: Situation, workload: Workload) -> datetime | None:
    """Return when the workload's pod ended.

    For a pod that was seen once and is gone without an end, it is when the pod was made.
    """
    if workload.end:
        return workload.end.at
    seen = situation.counts.attempts.seen_until
    return parse_time(seen) if seen and parse_time(seen) >= workload.created else None


def _not_started(workload: Workload) -> Phase:
    told = f": {workload.remark}" if workload.remark else ""
    return Phase(
        "Pending", "Pending", f"{workload.kind.controller or 'its controller'} has not made the trainer's pod yet{told}"
    )
