"""What follows a pod that was stopped from outside: the next one at once, or, where that leads nowhere, later. Pure.

Interruptions cost no retry, so nothing but the wait bounds a run that a full node evicts again and again. A run that
gets further from one to the next may be drained as often as its cluster likes.
"""

from datetime import datetime, timedelta

from whisper_finetune_operator import phases, timestamps
from whisper_finetune_operator.back_off import doubled_wait
from whisper_finetune_operator.deciding.actions import Action, delete_workload
from whisper_finetune_operator.deciding.course import NextStep
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.workloads import endings
from whisper_finetune_operator.workloads.endings import Meaning
from whisper_finetune_operator.workloads.workload_kind import Workload

#: So many in a row cost no time: a cluster that is drained node by node moves a pod more than once.
_AT_ONCE = 2
_FIRST_WAIT, _LAST_WAIT = timedelta(minutes=1), timedelta(hours=1)


def wait_after_interruptions(in_vain: int) -> timedelta:
    """Return how long a run waits that was stopped so many times in a row without getting further."""
    beyond = in_vain - _AT_ONCE
    return doubled_wait(_FIRST_WAIT, beyond, _LAST_WAIT) if beyond > 0 else timedelta()


def next_attempt_time(situation: Situation) -> datetime | None:
    """Return when the next pod may start; None where nothing keeps it."""
    pod, live = situation.at_work, situation.workload
    if (pod and not pod.over) or (live and live.suspended) or situation.spec.suspend:
        # What is suspended waits for Kueue, which has a back-off of its own.
        return None
    if situation.counts.interrupted:
        until = situation.now + wait_after_interruptions(situation.counts.attempts.interrupted_in_vain)
    else:
        written = situation.previous.next_attempt_time
        until = timestamps.parse_time(written) if written else situation.now
    return until if until > situation.now else None


def await_next_attempt(situation: Situation) -> NextStep | None:
    """Return the course of a run that has to wait; it keeps neither a Job nor a partition meanwhile."""
    until = next_attempt_time(situation)
    if until is None:
        return None
    attempts, live = situation.counts.attempts, situation.workload
    message = (
        f"stopped from outside {attempts.interrupted_in_vain} times in a row without getting further than step "
        f"{attempts.reached_step or 0}: the next attempt starts at {timestamps.render_time(until)}; the Events of "
        "its pods and nodes tell who stops it"
    )
    actions: tuple[Action, ...] = (_withdrawn(live),) if live else situation.giving_back
    return NextStep(phases.waits("Interrupted", message), actions, (until - situation.now).total_seconds())


def withdraw_interrupted(situation: Situation, job: Workload) -> tuple[Action, ...]:
    """Return what lets the next pod come at once: the back-off of a Job's controller grows with each, for its life.

    A Job that Kueue has admitted is left alone: the next one would have to queue again.
    """
    newest = situation.pods[-1] if situation.pods else None
    if newest is None or not newest.over or newest.owner_uid != job.uid or job.queue:
        return ()
    interrupted = endings.meaning_of_end(newest, job) is Meaning.INTERRUPTED
    return (_withdrawn(job),) if interrupted else ()


def _withdrawn(workload: Workload) -> Action:
    return delete_workload(workload, "its pod was stopped from outside")
