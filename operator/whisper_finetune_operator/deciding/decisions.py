"""Decide what to do about one run: from what the world shows to its status and the actions. Pure.

`decide` and `next_step` show the order in which the questions are asked. The first step that applies is taken.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.deciding import outcomes, partition_steps, pod_steps, situation, status, workload_steps
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.kubernetes_objects import parse_time
from whisper_finetune_operator.next_steps import (
    ENDING,
    NOT_STARTED,
    RETRYING,
    UNWATCHED_REQUEUE_SECONDS,
    Action,
    CreateWorkload,
    KeepFor,
    NextStep,
    Phase,
    Pinned,
    condition_of,
    delete_workload,
    retry_seconds,
)
from whisper_finetune_operator.planning import manifest
from whisper_finetune_operator.planning.plan import TrainingPlan, plan_run
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload
from whisper_finetune_operator.world import World

#: A workload that was refused is tried again in each pass. A refusal of this age belongs to an earlier attempt.
_REFUSAL_HOLDS = timedelta(minutes=10)
#: A run of this age without a status may have had a Job that was deleted before the status told of it.
_NEW = timedelta(seconds=30)
#: No watch tells that a quota has room again, so such a run does not wait for longer.
_LAST_CREATION_SECONDS = 180.0


@dataclass(frozen=True)
class Decision:
    """The status to show, and what to do."""

    status: WhisperFineTuneStatus
    #: Whether the status differs from the run's own. Only then is it written, and before any action but `claim`.
    changed: bool
    actions: tuple[Action, ...] = ()
    #: Reconcile again after this time, although nothing may have changed by then.
    requeue_seconds: float | None = None
    #: What is not understood of the status and of trainers' last words, for the log.
    remarks: tuple[str, ...] = ()

    @property
    def claim(self) -> CreateWorkload | None:
        """The run's first workload, where it is made before any status. The status follows in another pass."""
        return next((each for each in self.actions if isinstance(each, CreateWorkload) and each.claims), None)


def decide(world: World, runtimes: Runtimes) -> Decision:
    """Return what is to be done about the run. The same world and status give the same decision."""
    seen = situation.read_situation(world)
    if seen.run.deletion:
        return _leave_to_its_owner(seen)
    if seen.is_over:
        return _finish(seen, status.observe_status(seen.previous, seen.run.generation))
    final = outcomes.final_phase(seen)
    if final and outcomes.is_final_at_once(seen, final):
        return _finish(seen, status.derive_status(seen, final, admitted=_admitted(seen, final)))
    step = end_run(seen, final) if final else next_step(seen, runtimes)
    return _take(seen, pod_steps.tell_doubts(seen, step, runtimes) if seen.busy else step)


def next_step(seen: Situation, runtimes: Runtimes) -> NextStep:
    """Return what to do about a run that goes on: the first of these that applies."""
    return (
        _suspend(seen)
        or _stay_out_of_queue(seen)
        or outcomes.await_next_attempt(seen)
        or outcomes.await_other_version(seen)
        or workload_steps.next_step_of_workload(seen)
        or _await_end_of_orphan(seen)
        or _await_name(seen)
        or _await_next_second(seen)
        or _create(seen, runtimes)
    )


def end_run(seen: Situation, final: Phase) -> NextStep:
    """Return the next step of a run whose pod and workload must end before its final phase is shown."""
    live = seen.workload
    message = f"its {live.kind.name if live else 'pod'} is being ended: {final.message}"
    phase = pod_steps.pod_phase(seen, ENDING, message)
    left = pod_steps.sidecar_seconds_left(seen.busy, seen.now)
    if live is None or left > 0:
        return NextStep(phase, requeue_seconds=left if 0 < left < math.inf else None)
    return NextStep(phase, workload_steps.stop_workload(live))


def _leave_to_its_owner(seen: Situation) -> Decision:
    # The garbage collector deletes its children, by their owner references.
    return Decision(seen.previous, changed=False, actions=seen.giving_back, remarks=seen.remarks)


def _finish(seen: Situation, derived: WhisperFineTuneStatus) -> Decision:
    """Return the decision about a run that is over, with the actions that it still needs."""
    return Decision(derived, derived != seen.previous, *_tidy(seen, derived), seen.remarks)


def _take(seen: Situation, step: NextStep) -> Decision:
    """Return the decision that a step comes to."""
    known = seen.previous.partition_back_off
    back_off = partition_steps.back_off_to_write(seen, step, known) if known else step.back_off
    admitted = False if back_off and back_off.until else _admitted(seen, step.phase)
    pinned = step.pinned or _pinned_by_workload(seen)
    derived = status.derive_status(seen, step.phase, pinned=pinned, admitted=admitted, back_off=back_off)
    untold_seconds = 0.0 if step.actions else pod_steps.seconds_until_told(seen, derived)
    if untold_seconds > 0:
        step, derived = step.requeued_within(untold_seconds), seen.previous
    return Decision(derived, derived != seen.previous, step.actions, step.requeue_seconds, seen.remarks)


def _pinned_by_workload(seen: Situation) -> Pinned | None:
    """Return what the first workload says of its plan where it was made before any status."""
    first = seen.workload if seen.previous.runtime is None else None
    return Pinned(first.runtime, first.ipus) if first and first.runtime else None


def _admitted(seen: Situation, phase: Phase) -> bool | None:
    """Return whether a queue or pool has admitted the run. None: it is in neither, or that is not known yet."""
    if phase.state == "Queued":
        return False
    told = condition_of(seen.previous.conditions, "Admitted")
    if phase.is_final:
        # It had what it was admitted to until its end.
        return told.status == "True" if told else None
    if seen.leases:
        return True
    if seen.workload and (seen.workload.queue or told):
        return not seen.workload.suspended
    # It was admitted, and gave that back.
    return False if told else None


def _suspend(seen: Situation) -> NextStep | None:
    if not seen.spec.suspend:
        return None
    live = seen.workload
    delete = (delete_workload(live, "spec.suspend"),) if live else ()
    if live or seen.at_work:
        return NextStep(pod_steps.stopping_phase(seen, ""), delete)
    message = "set spec.suspend to false to go on from the newest checkpoint"
    return NextStep(Phase("Suspended", "Suspended", message), seen.giving_back)


def _stay_out_of_queue(seen: Situation) -> NextStep | None:
    """Return the next step of a run that gave its partition back not long ago, without having used it."""
    back_off = seen.previous.partition_back_off
    return partition_steps.stay_out_of_queue(seen, back_off) if back_off else None


def _await_end_of_orphan(seen: Situation) -> NextStep | None:
    """Return the next step of a run whose workload is gone while its pod is not."""
    pod = seen.at_work
    if pod is None:
        return None
    gone = f"its {pod.owner_kind or kinds.DEFAULT.name} is gone"
    message = f"{gone}; the next attempt starts when pod {pod.name} has ended"
    return NextStep(pod_steps.pod_phase(seen, RETRYING, message))


def _await_name(seen: Situation) -> NextStep | None:
    """Return the next step of a run whose child's name is taken.

    An earlier child that is being deleted has it, or somebody else's object.
    """
    other = seen.blocked_by
    if other is None:
        return None
    if other.owner_uid == seen.run.uid:
        return NextStep(outcomes.retry_phase(seen) or NOT_STARTED)
    message = f"delete {other.kind.name} {other.name}: it is somebody else's and has the name of this run's own"
    return NextStep(Phase.waiting("NameConflict", message), seen.giving_back, UNWATCHED_REQUEUE_SECONDS)


def _await_next_second(seen: Situation) -> NextStep | None:
    """Return the next step of a run in the second in which its newest pod was made.

    An attempt is known by the second in which its pod was made, so no other pod may be made in it.
    """
    seen_until = seen.counts.attempts.seen_until
    since = (seen.now - parse_time(seen_until)).total_seconds() if seen_until else math.inf
    if not 0 <= since < 1:
        # That second is over, or a clock is wrong.
        return None
    return NextStep(outcomes.retry_phase(seen) or NOT_STARTED, requeue_seconds=1 - since)


def _create(seen: Situation, runtimes: Runtimes) -> NextStep:
    """Return the step that creates the run's next workload, or the one that says what keeps it from that."""
    pinned = Pinned(seen.previous.runtime, seen.previous.ipus)
    plan = plan_run(seen.run, pinned, runtimes)
    if isinstance(plan, Phase):
        # A partition is of no use to a run that cannot go on with it.
        return NextStep(plan, seen.giving_back)
    wanted = partition_steps.queue_entry_of_plan(plan)
    if wanted is None:
        return _create_workload(seen, plan)
    partition = partition_steps.partition_of_run(seen, wanted)
    if partition is None:
        return partition_steps.queue_or_take(seen, wanted, plan)
    return _create_workload(seen, plan.on(partition))


def _create_workload(seen: Situation, plan: TrainingPlan) -> NextStep:
    used = plan.partition.lease_name if plan.partition else ""
    create = CreateWorkload(
        manifest.build_workload(plan, seen.counts.attempts.failed),
        check_pods_first=seen.previous.job_name is not None or seen.now - seen.run.created > _NEW,
        lease=used or None,
        claims=plan.runtime.kind.claims_its_run and not (used or seen.refusal or seen.previous.job_name),
        warnings=plan.warnings,
    )
    actions = (*partition_steps.give_back_others(seen, used), create)
    if seen.refusal and seen.now - seen.refusal.seen_at < _REFUSAL_HOLDS:
        lasted = seen.now - seen.refusal.refused_since
        again = retry_seconds(lasted, seen.run.uid, last_seconds=_LAST_CREATION_SECONDS)
        refused = NextStep(workload_steps.refused_phase(seen.refusal), actions, again, plan.pinned)
        return partition_steps.limit_patience(seen, refused)
    return NextStep(outcomes.retry_phase(seen) or NOT_STARTED, actions, pinned=plan.pinned)


def _tidy(seen: Situation, derived: WhisperFineTuneStatus) -> tuple[tuple[Action, ...], float | None]:
    """Return what a run that is over still needs, and after how many seconds to check it again.

    Its workload is to end too, to be deleted in time, and to keep no partition.
    """
    workload = seen.workload
    if workload is None:
        return seen.giving_back, None
    if workload.end is None:
        return _until_it_ends(workload, seen.busy, derived, seen.now)
    actions, requeue_seconds = _go_in_time(seen, workload, derived)
    return (*actions, *seen.giving_back), requeue_seconds


def _until_it_ends(
    workload: Workload, busy: tuple[Pod, ...], derived: WhisperFineTuneStatus, now: datetime
) -> tuple[tuple[Action, ...], float | None]:
    """Return what ends the workload where it does not end by itself, or would make another pod."""
    left = pod_steps.sidecar_seconds_left(busy, now)
    if left > 0:
        return (), left if left < math.inf else None
    stops = busy or not _ends_by_itself(workload, derived)
    return workload_steps.stop_workload(workload) if stops else (), None


def _go_in_time(
    seen: Situation, workload: Workload, derived: WhisperFineTuneStatus
) -> tuple[tuple[Action, ...], float | None]:
    """Return what deletes the workload when the user's TTL is over. Some kinds have a TTL of their own."""
    seconds = seen.spec.ttl_seconds_after_finished
    if workload.kind.goes_by_its_own_ttl:
        kept = seconds == workload.ttl_seconds_after_finished
        return () if kept else (KeepFor(workload.kind.name, workload.name, workload.uid, seconds),), None
    if seconds is None or derived.completion_time is None:
        return (), None
    left = parse_time(derived.completion_time) + timedelta(seconds=seconds) - seen.now
    if left > timedelta():
        return (), left.total_seconds()
    return (delete_workload(workload, "ttlSecondsAfterFinished"),), None


def _ends_by_itself(workload: Workload, derived: WhisperFineTuneStatus) -> bool:
    succeeded = condition_of(derived.conditions, "Succeeded")
    failed = derived.attempts.failed if derived.attempts else 0
    return succeeded is not None and outcomes.ends_workload(workload, succeeded.reason, failed)
