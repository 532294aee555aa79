"""The phase of a run as its pods show it: at work, on its way, or between two attempts. Pure."""

from whisper_finetune_api.v1alpha1.status import State
from whisper_finetune_operator import phases, timestamps
from whisper_finetune_operator.deciding import version_mismatch
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.workloads import endings
from whisper_finetune_operator.workloads.endings import Meaning
from whisper_finetune_operator.workloads.pods import Pod


def retry_phase(situation: Situation) -> Phase | None:
    """Return the phase between a pod that ended without deciding the run and the next one."""
    pod = situation.pods[-1] if situation.pods else None
    if pod is None or not pod.over:
        return None
    meaning = endings.meaning_of_end(pod, situation.workload)
    told = endings.describe_end(pod)
    if meaning is Meaning.INTERRUPTED:
        return phases.waits(phases.RETRYING, f"stopped from outside, which costs no retry: {told}{_queued(situation)}")
    if meaning is Meaning.MISMATCH:
        return version_mismatch.mismatch_phase(pod)
    if meaning is Meaning.UNREADABLE:
        return phases.waits(phases.RETRYING, "the result could not be read; the next attempt reports it again")
    cause = endings.cause_of_exit(pod.exit_code) if pod.exit_code else None
    left = max(0, situation.spec.retries - situation.counts.attempts.failed)
    message = f"{told}; retries left: {left}{_next(situation, pod)}"
    return phases.waits(cause.reason if cause else phases.RETRYING, message)


def _next(situation: Situation, pod: Pod) -> str:
    """Return in words when the Job's controller makes the next pod, where that is known."""
    job = situation.workload
    if (
        job is None
        or not job.kind.is_retried_by_its_controller
        or job.uid != pod.owner_uid
        or job.suspended
        or pod.finished_at is None
    ):
        return ""
    if pod.companions:
        # It makes none before these have ended.
        return ""
    failures = max(1, situation.counts.attempts.failed - job.failed_before)
    return f"; the next attempt starts about {timestamps.render(pod.finished_at + job.kind.back_off(failures))}"


def _queued(situation: Situation) -> str:
    job = situation.workload
    return "; its Job, which Kueue has admitted, makes the next pod within 10 minutes" if job and job.queue else ""


def running_phase(situation: Situation, pod: Pod) -> Phase:
    state = _state(situation)
    told = f", which was told to end by {timestamps.render(pod.ends_by)} and saves a checkpoint" if pod.ends_by else ""
    return Phase(state, state, f"pod {pod.name}{told}")


def stopping_phase(situation: Situation, why: str) -> Phase:
    """Return the phase of a run whose Job or spec was suspended: only a trainer that runs has anything to save."""
    pod = situation.at_work
    doing = "saving a checkpoint and ending" if pod and pod.running else "ending"
    return pod_phase(situation, phases.SUSPENDING, f"{why}its pod is {doing}")


def pod_phase(situation: Situation, reason: str, message: str) -> Phase:
    return Phase(_state(situation), reason, message)


def _state(situation: Situation) -> State:
    """Return the state that the pod at work is in, by its trainer's newest report."""
    pod, before = situation.at_work, situation.previous.state
    if pod is None or not pod.running:
        return "Pending"
    if situation.report and situation.report.stage:
        return situation.report.stage
    # The operator may just have started: no report is no news.
    same = pod.name == situation.previous.pod_name and before in phases.RUNNING_STATES
    return before if before and same else "Preparing"
