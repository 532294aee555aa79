"""What to do about a run that is not over: its phase, the actions, and when to look again. Pure."""

import math
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from whisper_finetune_operator import phases, timestamps
from whisper_finetune_operator.deciding import (
    companions,
    controlled_workload,
    interruptions,
    partition_need,
    partition_patience,
    partition_steps,
    pod_steps,
    single_pod_workload,
    version_mismatch,
)
from whisper_finetune_operator.deciding.actions import Action, CreateWorkload, delete_workload
from whisper_finetune_operator.deciding.course import UNWATCHED_REQUEUE_SECONDS, NextStep, retry_seconds
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import NOT_STARTED, Phase
from whisper_finetune_operator.planning import manifest
from whisper_finetune_operator.planning.plan import Pinned, TrainingPlan, plan_run
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.workloads import kinds, waiting
from whisper_finetune_operator.workloads.workload_kind import Workload

#: A workload that was refused is tried again at each look; a refusal this old is no longer of this attempt.
_REFUSAL_HOLDS = timedelta(minutes=10)
#: Nothing wakes such a run when a quota has room again, so it is not left for longer.
_LAST_CREATION_SECONDS = 180.0


class NextAttempts(NamedTuple):
    """What differs by who makes the next attempt, while a run is under way."""

    next_step: Callable[[Situation, Workload], NextStep]
    stop: Callable[[Workload], tuple[Action, ...]]


_BY_ITS_CONTROLLER = NextAttempts(controlled_workload.next_step_of_controlled, controlled_workload.stop_controlled)
_BY_THE_OPERATOR = NextAttempts(single_pod_workload.next_step_of_single_pod, single_pod_workload.stop_single_pod)


def next_step_of(situation: Situation, runtimes: Runtimes) -> NextStep:
    """Return the course of a run that is not over."""
    if situation.spec.suspend:
        return _suspend(situation)
    if course := partition_patience.stay_out_of_queue(situation) or interruptions.await_next_attempt(situation):
        return course
    if situation.workload:
        waits = version_mismatch.await_other_version(situation, situation.workload)
        return waits or _of(situation.workload).next_step(situation, situation.workload)
    if pod := situation.at_work:
        message = (
            f"its {pod.owner_kind or kinds.DEFAULT.name} is gone; the next attempt starts when pod {pod.name} has ended"
        )
        return NextStep(pod_steps.pod_phase(situation, phases.RETRYING, message))
    if situation.blocked_by:
        return _blocked(situation, situation.blocked_by)
    return _create(situation, runtimes)


def end_run(situation: Situation, final: Phase) -> NextStep:
    """Return the course of a run whose pod and workload must end before the final phase holds."""
    live = situation.workload
    message = f"its {live.kind.name if live else 'pod'} is being ended: {final.message}"
    phase = pod_steps.pod_phase(situation, phases.ENDING, message)
    left = companions.sidecar_seconds_left(situation.busy, situation.now)
    if live is None or left > 0:
        return NextStep(phase, requeue_seconds=left if 0 < left < math.inf else None)
    return NextStep(phase, stop_workload(live))


def stop_workload(workload: Workload) -> tuple[Action, ...]:
    """Return what keeps a live workload from having pods."""
    return _of(workload).stop(workload)


def _of(workload: Workload) -> NextAttempts:
    return _BY_ITS_CONTROLLER if workload.kind.is_retried_by_its_controller else _BY_THE_OPERATOR


def _suspend(situation: Situation) -> NextStep:
    live = situation.workload
    delete = (delete_workload(live, "spec.suspend"),) if live else ()
    if live or situation.at_work:
        return NextStep(pod_steps.stopping_phase(situation, ""), delete)
    message = "set spec.suspend to false to go on from the newest checkpoint"
    return NextStep(Phase("Suspended", "Suspended", message), situation.giving_back)


def _blocked(situation: Situation, other: Workload) -> NextStep:
    if other.owner_uid == situation.run.uid:
        return NextStep(pod_steps.retry_phase(situation) or NOT_STARTED)
    message = f"delete {other.kind.name} {other.name}: it is somebody else's and has the name of this run's own"
    return NextStep(phases.waits("NameConflict", message), situation.giving_back, UNWATCHED_REQUEUE_SECONDS)


def _create(situation: Situation, runtimes: Runtimes) -> NextStep:
    pinned = Pinned(situation.previous.runtime, situation.previous.ipus)
    plan = plan_run(situation.run, pinned, runtimes)
    if isinstance(plan, Phase):
        # A partition is of no use to a run that cannot go on with it.
        return NextStep(plan, situation.giving_back)
    wanted = partition_need.queue_entry_of_plan(plan)
    if wanted is None:
        return _create_workload(situation, plan)
    partition = partition_steps.partition_of_run(situation, wanted)
    if partition is None:
        return partition_steps.queue_or_take(situation, wanted, plan)
    return _create_workload(situation, plan.on(partition))


def _create_workload(situation: Situation, plan: TrainingPlan) -> NextStep:
    used = plan.partition.lease_name if plan.partition else ""
    create = CreateWorkload(
        manifest.build_workload(plan, situation.counts.attempts.failed),
        look_first=situation.previous.job_name is not None,
        lease=used or None,
        warnings=plan.warnings,
    )
    actions = (*partition_steps.give_back_others(situation, used), create)
    if situation.refusal and situation.now - situation.refusal.seen_at < _REFUSAL_HOLDS:
        lasted = situation.now - situation.refusal.refused_since
        again = retry_seconds(lasted, situation.run.uid, last_seconds=_LAST_CREATION_SECONDS)
        refused = NextStep(waiting.refused_phase(situation.refusal), actions, again, plan)
        return partition_patience.limit_patience(situation, refused)
    return NextStep(pod_steps.retry_phase(situation) or NOT_STARTED, actions, plan=plan)
