"""What to do about a run that is not over: its phase, the actions, and when to look again. Pure."""

from datetime import timedelta

from whisper_finetune_operator import (
    job_under_way,
    partition_course,
    partition_need,
    phases,
    pod_phases,
    waiting,
    workload,
)
from whisper_finetune_operator.actions import Action, CreateWorkload, DeleteWorkload, EndWorkload
from whisper_finetune_operator.course import UNWATCHED_RECHECK_SECONDS, Course
from whisper_finetune_operator.jobs import Job
from whisper_finetune_operator.phases import NOT_STARTED, Phase
from whisper_finetune_operator.plan import Pinned, TrainingPlan, make_plan
from whisper_finetune_operator.runtimes import Runtimes
from whisper_finetune_operator.situation import Situation

#: A Job that was refused is tried again at each look; a refusal this old is no longer of this attempt.
_REFUSAL_HOLDS = timedelta(minutes=10)


def find(situation: Situation, runtimes: Runtimes) -> Course:
    """Return the course of a run that is not over."""
    if situation.spec.suspend:
        return _suspend(situation)
    if situation.job:
        return job_under_way.find(situation, situation.job)
    if situation.at_work:
        message = f"its Job is gone; the next attempt starts when pod {situation.at_work.name} has ended"
        return Course(pod_phases.of_pod(situation, phases.RETRYING, message))
    if situation.blocked_by:
        return _blocked(situation, situation.blocked_by)
    return _create(situation, runtimes)


def end(situation: Situation, final: Phase) -> Course:
    """Return the course of a run whose pod and Job must end before the final phase holds."""
    message = f"its Job is being ended: {final.message}"
    return Course(pod_phases.of_pod(situation, phases.ENDING, message), stop(situation.job))


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
        return Course(
            pod_phases.of_pod(situation, phases.SUSPENDING, "its pod is saving a checkpoint and ending"), delete
        )
    message = "set spec.suspend to false to go on from the newest checkpoint"
    return Course(Phase("Suspended", "Suspended", message), situation.giving_back)


def _blocked(situation: Situation, other: Job) -> Course:
    if other.owner_uid == situation.run.uid:
        return Course(pod_phases.retrying(situation) or NOT_STARTED)
    message = f"delete Job {other.name}: it is somebody else's and has the name of this run's Job"
    return Course(phases.waits("NameConflict", message), recheck_seconds=UNWATCHED_RECHECK_SECONDS)


def _create(situation: Situation, runtimes: Runtimes) -> Course:
    pinned = Pinned(situation.previous.runtime, situation.previous.ipus)
    plan = make_plan(situation.run, situation.spec, pinned, runtimes)
    if isinstance(plan, Phase):
        # A partition is of no use to a run that cannot go on with it.
        return Course(plan, situation.giving_back)
    wanted = partition_need.of(plan)
    if wanted is None:
        return _create_workload(situation, plan)
    partition = partition_course.held(situation, wanted)
    if partition is None:
        return partition_course.wait_or_take(situation, wanted, plan)
    return _create_workload(situation, plan.on(partition))


def _create_workload(situation: Situation, plan: TrainingPlan) -> Course:
    used = plan.partition.lease_name if plan.partition else ""
    create = CreateWorkload(
        workload.build_job(plan, situation.tally.attempts.failed),
        look_first=situation.previous.job_name is not None,
        lease=used or None,
        warnings=plan.warnings,
    )
    actions = (*partition_course.others_given_back(situation, used), create)
    if situation.refusal and situation.now - situation.refusal.seen_at < _REFUSAL_HOLDS:
        return Course(waiting.refused(situation.refusal), actions, UNWATCHED_RECHECK_SECONDS, plan)
    return Course(pod_phases.retrying(situation) or NOT_STARTED, actions, plan=plan)
