"""Decide what to do about one run: from what the world shows to its status and the actions. Pure."""

from dataclasses import dataclass, replace

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.deciding import (
    conditions,
    doubts,
    outcomes,
    partition_patience,
    situation,
    status,
    tidying,
    under_way,
)
from whisper_finetune_operator.deciding.actions import Action
from whisper_finetune_operator.deciding.situation import Facts, Situation
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.world import World


@dataclass(frozen=True)
class Decision:
    """The status to show, and what to do."""

    status: WhisperFineTuneStatus
    #: Whether the status differs from the run's own: only then is it written, and before any action.
    changed: bool
    actions: tuple[Action, ...] = ()
    #: Look again after this time although nothing may have changed by then.
    requeue_seconds: float | None = None
    #: What of the status and of trainers' last words is not understood, for the log.
    remarks: tuple[str, ...] = ()


def decide(world: World, runtimes: Runtimes) -> Decision:
    """Return what is to be done about the run; the same world and status give the same decision."""
    facts = situation.read_facts(world)
    decision = _decide(world, facts, runtimes)
    return replace(decision, remarks=(f"status: {facts.remark}", *decision.remarks)) if facts.remark else decision


def _decide(world: World, facts: Facts, runtimes: Runtimes) -> Decision:
    run, previous = facts.run, facts.previous
    if run.deletion:
        # Its children go with it, by their owner references.
        return Decision(previous, changed=False, actions=facts.giving_back)
    if facts.is_over:
        understood = conditions.condition_of(previous.conditions, "Succeeded") is not None
        # Written anew without it, the run would begin again.
        return _finished(facts, status.observe_status(previous, run.generation) if understood else previous)
    seen = situation.read_situation(world, facts)
    last_words = (pod.last_words.remark for pod in seen.counts.added)
    remarks = tuple(f"termination message: {remark}" for remark in last_words if remark)
    return replace(_decide_course(facts, seen, runtimes), remarks=remarks)


def _decide_course(facts: Facts, seen: Situation, runtimes: Runtimes) -> Decision:
    final = outcomes.final_phase(seen)
    if final and (final.state == "Succeeded" or not _could_go_on(seen, final)):
        derived = status.derive_status(seen, final, admitted=_admitted(seen, final))
        return _finished(facts, derived)
    course = under_way.end_run(seen, final) if final else under_way.next_step_of(seen, runtimes)
    runtime = runtimes.named(seen.previous.runtime) if seen.previous.runtime else None
    course = doubts.tell_doubts(seen, course, runtime.stall_seconds if runtime else None)
    back_off = partition_patience.back_off_to_write(seen, course)
    admitted = False if back_off and back_off.until else _admitted(seen, course.phase)
    derived = status.derive_status(seen, course.phase, plan=course.plan, admitted=admitted, back_off=back_off)
    return Decision(derived, derived != seen.previous, course.actions, course.requeue_seconds)


def _could_go_on(seen: Situation, final: Phase) -> bool:
    """Return whether a pod of the run is at work, or its workload could make another: then it is not over yet."""
    by_itself = seen.workload is None or outcomes.ends_workload(
        seen.workload, final.reason, seen.counts.attempts.failed
    )
    return seen.at_work is not None or not by_itself


def _finished(facts: Facts, derived: WhisperFineTuneStatus) -> Decision:
    return Decision(derived, derived != facts.previous, *tidying.tidy(facts, derived))


def _admitted(seen: Situation, phase: Phase) -> bool | None:
    """Return whether a queue or pool lets the run go on: None where neither has it, or where that is not known yet."""
    if phase.state == "Queued":
        return False
    told = conditions.condition_of(seen.previous.conditions, "Admitted")
    if phase.is_final:
        # Its place was its own to the end.
        return told.status == "True" if told else None
    if seen.leases:
        return True
    if seen.workload and (seen.workload.queue or told):
        return not seen.workload.suspended
    # It had a place, and gave it back.
    return False if told else None
