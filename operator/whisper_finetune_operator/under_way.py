"""What to do about a run that is not over: its phase, the actions, and when to look again."""

from dataclasses import dataclass
from datetime import timedelta

from whisper_finetune_api.v1alpha1.status import State
from whisper_finetune_operator import endings, phases, timestamps, waiting, workload
from whisper_finetune_operator.actions import (
    Action,
    AllowRetries,
    CreateWorkload,
    DeleteWorkload,
    EndWorkload,
    LookForRefusal,
)
from whisper_finetune_operator.endings import Meaning
from whisper_finetune_operator.jobs import Job
from whisper_finetune_operator.phases import NOT_STARTED, Phase
from whisper_finetune_operator.plan import TrainingPlan, make_plan
from whisper_finetune_operator.pods import Pod
from whisper_finetune_operator.runtimes import Runtimes
from whisper_finetune_operator.situation import Situation

#: A Job that wants a pod for so long and has none is asked why.
_POD_EXPECTED_AFTER = timedelta(seconds=3)
#: A Job that was refused is tried again at each look; a refusal this old is no longer of this attempt.
_REFUSAL_HOLDS = timedelta(minutes=10)
#: How often a cause is looked at that no watch tells of: events of a Job, an object of somebody else's.
_UNWATCHED_RECHECK_SECONDS = 30.0
_SETTLING_RECHECK_SECONDS = 3.0
_PODS_END_UNKNOWN = "its Job is over, and its pod's end is not in sight yet"


@dataclass(frozen=True)
class Course:
    """What to do about a run."""

    phase: Phase
    actions: tuple[Action, ...] = ()
    recheck_seconds: float | None = None
    #: Where a workload is created.
    plan: TrainingPlan | None = None


def find(situation: Situation, runtimes: Runtimes) -> Course:
    """Return the course of a run that is not over."""
    if situation.spec.suspend:
        return _suspend(situation)
    if situation.job:
        return _with_job(situation, situation.job)
    if situation.at_work:
        message = f"its Job is gone; the next attempt starts when pod {situation.at_work.name} has ended"
        return Course(_phase_of_pod(situation, phases.RETRYING, message))
    if situation.blocked_by:
        return _blocked(situation, situation.blocked_by)
    return _create(situation, runtimes)


def end(situation: Situation, final: Phase) -> Course:
    """Return the course of a run whose pod and Job must end before the final phase holds."""
    message = f"its Job is being ended: {final.message}"
    return Course(_phase_of_pod(situation, phases.ENDING, message), stop(situation.job))


def stop(job: Job | None) -> tuple[Action, ...]:
    """Return what keeps a live Job from having pods: it stays to be read, save where its own end cannot come."""
    if job is None or job.end or (job.active_deadline_seconds == 1 and not job.suspended):
        return ()
    if job.suspended:
        # A suspended Job's deadline does not run, and Kueue could start it.
        return (DeleteWorkload(job.name, job.uid, "the run is over"),)
    return (EndWorkload(job.name, job.uid),)


def _suspend(situation: Situation) -> Course:
    job = situation.job
    delete = (DeleteWorkload(job.name, job.uid, "spec.suspend"),) if job else ()
    if job or situation.at_work:
        return Course(_phase_of_pod(situation, phases.SUSPENDING, "its pod is saving a checkpoint and ending"), delete)
    return Course(Phase("Suspended", "Suspended", "set spec.suspend to false to go on from the newest checkpoint"))


def _blocked(situation: Situation, other: Job) -> Course:
    if other.owner_uid == situation.run.uid:
        return Course(_retrying(situation) or NOT_STARTED)
    message = f"delete Job {other.name}: it is somebody else's and has the name of this run's Job"
    return Course(phases.waits("NameConflict", message), recheck_seconds=_UNWATCHED_RECHECK_SECONDS)


def _create(situation: Situation, runtimes: Runtimes) -> Course:
    plan = make_plan(situation.run, situation.spec, situation.previous.runtime, runtimes)
    if isinstance(plan, Phase):
        return Course(plan)
    manifest = workload.build_job(plan, situation.tally.attempts.failed)
    create = CreateWorkload(manifest, look_first=situation.previous.job_name is not None)
    if situation.refusal and situation.now - situation.refusal.seen_at < _REFUSAL_HOLDS:
        return Course(waiting.refused(situation.refusal), (create,), _UNWATCHED_RECHECK_SECONDS, plan)
    return Course(_retrying(situation) or NOT_STARTED, (create,), plan=plan)


def _with_job(situation: Situation, job: Job) -> Course:
    if job.end:
        return _after_end(situation, job)
    if situation.at_work:
        return _with_pod(situation, job, situation.at_work)
    if job.suspended:
        message = "the Job is suspended: Kueue has not admitted it, or somebody suspended it by hand"
        return Course(Phase("Queued", "WaitingForQuota", message), _allow_retries(situation, job))
    return _without_pod(situation, job)


def _after_end(situation: Situation, job: Job) -> Course:
    """A Job is over and the run is not: its result could not be read, or its pod's end is not in sight yet."""
    until = situation.tally.attempts.counted_until
    counted = until is not None and job.end is not None and job.end.at <= timestamps.parse(until)
    if counted and job.end and job.end.type == "Complete":
        delete = DeleteWorkload(job.name, job.uid, "its result cannot be read: another attempt reports it")
        return Course(_retrying(situation) or NOT_STARTED, (delete,))
    # No news as long as the pod is shown at work: the two watches seldom lag by more than moments.
    pod = situation.at_work
    shown = _running(situation, pod) if pod else phases.waits(phases.ENDING, _PODS_END_UNKNOWN)
    return Course(shown, recheck_seconds=_SETTLING_RECHECK_SECONDS)


def _with_pod(situation: Situation, job: Job, pod: Pod) -> Course:
    allow = _allow_retries(situation, job)
    if pod.exit_code is not None:
        # No news: its end is counted when the whole pod is over, moments later.
        return Course(_running(situation, pod), allow)
    if not pod.running:
        lacking = waiting.find(pod.waiting) if pod.waiting else None
        return Course(lacking or _phase_of_pod(situation, NOT_STARTED.reason, NOT_STARTED.message), allow)
    limit = situation.spec.active_deadline_seconds
    left = None if limit is None else max(1.0, limit - situation.running_time.total_seconds())
    return Course(_running(situation, pod), allow, left)


def _without_pod(situation: Situation, job: Job) -> Course:
    allow = _allow_retries(situation, job)
    newest = situation.pods[-1] if situation.pods else None
    look = LookForRefusal(job.name, job.uid)
    if situation.refusal and (newest is None or situation.refusal.seen_at > newest.created):
        return Course(waiting.refused(situation.refusal), (*allow, look), _UNWATCHED_RECHECK_SECONDS)
    phase = _retrying(situation) or NOT_STARTED
    if job.started_at is None:
        return Course(phase, allow)
    wanted_since = max(filter(None, (job.started_at, newest.finished_at if newest else None)))
    still_early = _POD_EXPECTED_AFTER - (situation.now - wanted_since)
    if still_early > timedelta():
        return Course(phase, allow, still_early.total_seconds())
    return Course(phase, (*allow, look), _UNWATCHED_RECHECK_SECONDS)


def _allow_retries(situation: Situation, job: Job) -> tuple[Action, ...]:
    # Lowered below what has failed already, the Job would end the attempt at work.
    retries = max(situation.spec.retries, situation.tally.attempts.failed)
    limit = workload.backoff_limit(retries, job.failed_before)
    return () if limit == job.backoff_limit else (AllowRetries(job.name, job.uid, limit),)


def _retrying(situation: Situation) -> Phase | None:
    """Return the phase between a pod that ended without deciding the run and the next one."""
    pod = situation.pods[-1] if situation.pods else None
    if pod is None or not pod.ended:
        return None
    meaning = endings.meaning(pod, situation.job, situation.run.uid)
    told = endings.describe(pod, situation.run.uid)
    if meaning is Meaning.INTERRUPTED:
        return phases.waits(phases.RETRYING, f"stopped from outside, which costs no retry: {told}")
    if meaning is Meaning.UNREADABLE:
        return phases.waits(phases.RETRYING, "the result could not be read; the next attempt reports it again")
    cause = endings.cause_of(pod.exit_code) if pod.exit_code else None
    left = max(0, situation.spec.retries - situation.tally.attempts.failed)
    return phases.waits(cause.reason if cause else phases.RETRYING, f"{told}; retries left: {left}")


def _running(situation: Situation, pod: Pod) -> Phase:
    state = _state(situation)
    return Phase(state, state, f"pod {pod.name}")


def _phase_of_pod(situation: Situation, reason: str, message: str) -> Phase:
    return Phase(_state(situation), reason, message)


def _state(situation: Situation) -> State:
    """Return the state that the pod at work is in, by its trainer's newest report."""
    pod, before = situation.at_work, situation.previous.state
    if pod is None or (not pod.running and pod.exit_code is None):
        return "Pending"
    if situation.report:
        return situation.report.stage
    # The operator may just have started: no report is no news.
    same = pod.name == situation.previous.pod_name and before in phases.RUNNING_STATES
    return before if before and same else "Preparing"
