"""What to do about a run whose IPUJob is there: it makes one pod, and each further attempt is another IPUJob. Pure."""

from datetime import datetime, timedelta

from whisper_finetune_operator import timestamps
from whisper_finetune_operator.deciding import interruptions, pod_steps, pod_under_way
from whisper_finetune_operator.deciding.actions import Action, delete_workload
from whisper_finetune_operator.deciding.course import NextStep
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import NOT_STARTED, Phase
from whisper_finetune_operator.workloads.workload_kind import Workload


def next_step_of_single_pod(situation: Situation, ipu_job: Workload) -> NextStep:
    """Return the course of a run that is not over."""
    if situation.at_work:
        return pod_under_way.next_step_of_pod(situation, situation.at_work)
    phase = pod_steps.retry_phase(situation)
    over_since = _over_since(situation, ipu_job)
    if over_since is None:
        return NextStep(phase or _not_started(ipu_job))
    wait = over_since + ipu_job.kind.back_off(situation.counts.attempts.failed) - situation.now
    if wait > timedelta() and not interruptions.withdraw_interrupted(situation, ipu_job):
        # Its pod stays as long, with its log.
        return NextStep(phase or NOT_STARTED, requeue_seconds=wait.total_seconds())
    delete = delete_workload(ipu_job, "its pod is over: another attempt needs another one")
    return NextStep(phase or NOT_STARTED, (delete,))


def stop_single_pod(ipu_job: Workload) -> tuple[Action, ...]:
    """Return what ends its pod; one that has ended stays to be read."""
    return () if ipu_job.end else (delete_workload(ipu_job, "the run is over"),)


def _over_since(situation: Situation, ipu_job: Workload) -> datetime | None:
    """Return when its pod ended; when it was made if it was seen and went without an end in sight."""
    if ipu_job.end:
        return ipu_job.end.at
    seen = situation.counts.attempts.seen_until
    return timestamps.parse(seen) if seen and timestamps.parse(seen) >= ipu_job.created else None


def _not_started(ipu_job: Workload) -> Phase:
    told = f": {ipu_job.remark}" if ipu_job.remark else ""
    return Phase(
        "Pending", "Pending", f"{ipu_job.kind.controller or 'its controller'} has not made the trainer's pod yet{told}"
    )
