"""What the attempts that ended come to: the run's end, or a wait before the next attempt. Pure.

Interruptions cost no retry, so nothing but the wait bounds a run that a full node evicts again and again. A run that
gets further from one to the next may be drained as often as its cluster likes.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from whisper_finetune_api.causes import BY_REASON, EXIT_VERSIONS, FINAL_EXIT_CODES
from whisper_finetune_operator.back_off import doubled_wait
from whisper_finetune_operator.deciding.situation import SETTLE_TIME, Situation
from whisper_finetune_operator.kubernetes_objects import parse_time, render_time
from whisper_finetune_operator.next_steps import RETRYING, Action, NextStep, Phase, delete_workload
from whisper_finetune_operator.workloads import endings
from whisper_finetune_operator.workloads.endings import Meaning
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload

_OUT_OF_MEMORY_LIMIT = 2
_UNREADABLE_LIMIT = 2
#: So many interruptions in a row cause no wait: a cluster that is drained node by node moves a pod more than once.
_AT_ONCE = 2
_FIRST_WAIT, _LAST_WAIT = timedelta(minutes=1), timedelta(hours=1)
#: An image may be replaced under its name, and nothing tells of that. A trainer that refuses its configuration ends at
#: once.
RETRY_AFTER = timedelta(minutes=10)


def final_phase(situation: Situation) -> Phase | None:
    """Return the final phase of a run that is over, else None. A result counts more than every cause."""
    return next((phase for rule in _RULES if (phase := rule(situation))), None)


def is_final_at_once(situation: Situation, final: Phase) -> bool:
    """Return whether the run is final now. It is not while a pod is at work, or the workload could make another."""
    live, failed = situation.workload, situation.counts.attempts.failed
    by_itself = live is None or ends_workload(live, final.reason, failed)
    return final.state == "Succeeded" or (by_itself and situation.at_work is None)


def ends_workload(job: Workload, reason: str, failed: int) -> bool:
    """Return whether what ended the run has ended its workload, or soon will: a Job controller sees the same pod."""
    if job.end or not job.kind.is_retried_by_its_controller:
        return job.end is not None
    if reason == "RetriesExhausted":
        return failed - job.failed_before > job.backoff_limit
    cause = BY_REASON.get(reason)
    if cause is None:
        return not job.suspended
    # The kubelet's kills for memory end no Job. The trainer's own OutOfMemory does, in a moment. A suspended Job counts
    # no end of a pod any more, and could be resumed.
    return cause.exit_code is not None and reason != "OutOfMemory" and not job.suspended


def result_pod(situation: Situation) -> Pod | None:
    """Return the pod that ended with a result that can be read."""
    return _newest(situation, Meaning.RESULT)


def _succeeded(situation: Situation) -> Phase | None:
    pod = result_pod(situation)
    ending = pod.last_words.result if pod else None
    if ending is None or ending.result is None or ending.model is None:
        return None
    scores = ending.result.compared_with(ending.baseline, ending.metric)
    where = f"{situation.run.written_folder(ending.folder)}/{ending.model.path}"
    judgement = ending.acceptance
    kept = "" if judgement is None or judgement.accepted else "; not accepted, so latest.json does not name it"
    earlier = "; taken over from an earlier run of the same spec, data and model" if ending.folder else ""
    return Phase("Succeeded", "Succeeded", f"{scores}{kept}{earlier}; model: {where}", judgement)


def _final_exit_code(situation: Situation) -> Phase | None:
    pod = _newest(situation, Meaning.FINAL)
    if pod is None or pod.exit_code is None:
        return None
    ending = pod.last_words.ending
    return _by_exit_code(pod.exit_code, ending.reason if ending else None, endings.describe_end(pod))


def _out_of_memory(situation: Situation) -> Phase | None:
    kills = situation.counts.attempts.out_of_memory
    if kills < _OUT_OF_MEMORY_LIMIT:
        return None
    message = f"killed for memory {kills} times; take a smaller model or batchSize, or a runtime with more memory"
    return Phase.failed("OutOfMemory", message)


def _result_unreadable(situation: Situation) -> Phase | None:
    if situation.counts.attempts.unreadable < _UNREADABLE_LIMIT:
        return None
    if situation.counts.attempts.started:
        message = "the trainer ended well twice, and its result could not be read; the runtime's image may not be ours"
    else:
        message = "its Job was complete twice, and no pod of it was seen in this cluster, so the result is not known"
    return Phase.failed("ResultUnreadable", message)


def _job_failed(situation: Situation) -> Phase | None:
    """Return the final phase by the Job's own end, where its pod is gone or where the Job alone knows the cause."""
    end = situation.workload.end if situation.workload else None
    if end is None or end.type != "Failed":
        return None
    if end.reason == "DeadlineExceeded":
        return _deadline(situation)
    if situation.workload and ended_by_mismatch(situation, situation.workload):
        return None
    if end.reason == "PodFailurePolicy":
        return _by_policy(end.message) if _is_settled(situation) else None
    return _retries(situation) if _end_is_shown(situation) or _is_settled(situation) else None


def _retries_exhausted(situation: Situation) -> Phase | None:
    # spec.retries may be lowered while a pod is at work: that attempt was granted.
    at_work = situation.at_work is not None and not situation.at_work.over
    exhausted = not at_work and situation.counts.attempts.failed > situation.spec.retries
    return _retries(situation) if exhausted else None


def _deadline_exceeded(situation: Situation) -> Phase | None:
    limit = situation.spec.active_deadline_seconds
    over = limit is not None and situation.running_time >= timedelta(seconds=limit)
    return _deadline(situation) if over else None


_RULES: tuple[Callable[[Situation], Phase | None], ...] = (
    _succeeded,
    _final_exit_code,
    _out_of_memory,
    _result_unreadable,
    _deadline_exceeded,
    _retries_exhausted,
    _job_failed,
)


def _by_policy(message: str) -> Phase:
    """Return the phase of a Job that failed by its pod failure policy.

    The Job controller's message has the exit code.
    """
    code = re.search(r"exit code (\d+)", message)
    return (code and _by_exit_code(int(code[1]), None, message)) or Phase.failed("RetriesExhausted", message)


def _by_exit_code(exit_code: int, reason: str | None, message: str) -> Phase | None:
    cause = endings.cause_of_exit(exit_code, reason) if exit_code in FINAL_EXIT_CODES else None
    return Phase.failed(cause.reason, message) if cause else None


def _retries(situation: Situation) -> Phase:
    failed, retries = situation.counts.attempts.failed, situation.spec.retries
    pod = next((pod for pod in reversed(situation.pods) if pod.over), None)
    last = f"; the last one: {endings.describe_end(pod)}" if pod else ""
    end = situation.workload.end if situation.workload else None
    if end and failed <= retries:
        seen = f"{failed} of its pods were seen to fail, the others went without an end"
        return Phase.failed("RetriesExhausted", f"its Job gave up ({end.message}); spec.retries is {retries}; {seen}")
    return Phase.failed("RetriesExhausted", f"{failed} attempts failed and spec.retries is {retries}{last}")


def _deadline(situation: Situation) -> Phase:
    limit = situation.spec.active_deadline_seconds
    seconds = f"{limit} seconds" if limit else "its Job allows"
    message = f"ran longer than {seconds} over all attempts; make a new run with a longer activeDeadlineSeconds"
    return Phase.failed("DeadlineExceeded", message)


def _newest(situation: Situation, meaning: Meaning) -> Pod | None:
    over = (pod for pod in reversed(situation.pods) if pod.over)
    return next((pod for pod in over if endings.meaning_of_end(pod, situation.workload) is meaning), None)


def _end_is_shown(situation: Situation) -> bool:
    newest = situation.pods[-1] if situation.pods else None
    return bool(newest and newest.over and situation.workload and newest.owner_uid == situation.workload.uid)


def _is_settled(situation: Situation) -> bool:
    end = situation.workload.end if situation.workload else None
    return end is not None and situation.now - end.at >= SETTLE_TIME


def retry_phase(situation: Situation) -> Phase | None:
    """Return the phase between a pod that ended without deciding the run and the next one."""
    pod = situation.pods[-1] if situation.pods else None
    if pod is None or not pod.over:
        return None
    meaning = endings.meaning_of_end(pod, situation.workload)
    told = endings.describe_end(pod)
    if meaning is Meaning.INTERRUPTED:
        message = f"stopped from outside, which costs no retry: {told}{_queued(situation)}"
        return Phase.waiting(RETRYING, message)
    if meaning is Meaning.MISMATCH:
        return mismatch_phase(pod)
    if meaning is Meaning.UNREADABLE:
        return Phase.waiting(RETRYING, "the result could not be read; the next attempt reports it again")
    cause = endings.cause_of_exit(pod.exit_code) if pod.exit_code else None
    left = max(0, situation.spec.retries - situation.counts.attempts.failed)
    message = f"{told}; retries left: {left}{_next(situation, pod)}"
    return Phase.waiting(cause.reason if cause else RETRYING, message)


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
    if pod.sidecars:
        # It makes no pod before these have ended.
        return ""
    failures = max(1, situation.counts.attempts.failed - job.failed_before)
    return f"; the next attempt starts about {render_time(pod.finished_at + job.kind.back_off(failures))}"


def _queued(situation: Situation) -> str:
    job = situation.workload
    return "; its Job, which Kueue has admitted, makes the next pod within 10 minutes" if job and job.queue else ""


def wait_after_interruptions(in_vain: int) -> timedelta:
    """Return how long a run waits after so many interruptions in a row between which it got no further."""
    beyond = in_vain - _AT_ONCE
    return doubled_wait(_FIRST_WAIT, beyond, _LAST_WAIT) if beyond > 0 else timedelta()


def next_attempt_time(situation: Situation) -> datetime | None:
    """Return when the next pod may start, or None where it may start at once."""
    pod, live = situation.at_work, situation.workload
    if (pod and not pod.over) or (live and live.suspended) or situation.spec.suspend:
        # A suspended Job waits for Kueue, which has a back-off of its own.
        return None
    if situation.counts.interrupted:
        until = situation.now + wait_after_interruptions(situation.counts.attempts.interrupted_in_vain)
    else:
        written = situation.previous.next_attempt_time
        until = parse_time(written) if written else situation.now
    return until if until > situation.now else None


def await_next_attempt(situation: Situation) -> NextStep | None:
    """Return the step of a run that has to wait after interruptions.

    It keeps neither a Job nor a partition meanwhile.
    """
    until = next_attempt_time(situation)
    if until is None:
        return None
    attempts, live = situation.counts.attempts, situation.workload
    message = (
        f"stopped from outside {attempts.interrupted_in_vain} times in a row without getting further than step "
        f"{attempts.reached_step or 0}: the next attempt starts at {render_time(until)}; the Events of "
        "its pods and nodes tell who stops it"
    )
    actions: tuple[Action, ...] = (_withdrawn(live),) if live else situation.giving_back
    return NextStep(Phase.waiting("Interrupted", message), actions, (until - situation.now).total_seconds())


def withdraw_interrupted(situation: Situation, job: Workload) -> tuple[Action, ...]:
    """Return what lets the next pod start at once, where that is to delete the Job.

    The back-off of a Job's controller grows with each pod, for the life of the Job. A Job that Kueue has admitted is
    left alone: the next one would have to queue again.
    """
    newest = situation.pods[-1] if situation.pods else None
    if newest is None or not newest.over or newest.owner_uid != job.uid or job.queue:
        return ()
    interrupted = endings.meaning_of_end(newest, job) is Meaning.INTERRUPTED
    return (_withdrawn(job),) if interrupted else ()


def _withdrawn(workload: Workload) -> Action:
    return delete_workload(workload, "its pod was stopped from outside")


def await_other_version(situation: Situation) -> NextStep | None:
    """Return the step of a run whose trainer and operator do not understand each other, None for any other run."""
    workload = situation.workload
    if workload is None:
        return None
    pod = _newest_ended(situation, workload)
    if pod and endings.awaits_operator(pod):
        # This pod has the only result, so it stays, with whatever other containers it has.
        return NextStep(mismatch_phase(pod), situation.giving_back)
    ended_at = _ended_at(situation, workload)
    if ended_at is None or not ended_by_mismatch(situation, workload):
        return None
    wait = ended_at + RETRY_AFTER - situation.now
    if wait > timedelta():
        return NextStep(mismatch_phase(pod), situation.giving_back, wait.total_seconds())
    delete = delete_workload(workload, "its image may be of another version by now")
    return NextStep(mismatch_phase(pod), (delete,))


def _ended_at(situation: Situation, workload: Workload) -> datetime | None:
    """Return when the workload ended, or its trainer where other containers run on. None while neither has."""
    if workload.end:
        return workload.end.at
    pod = situation.at_work
    return pod.finished_at if pod and pod.over and pod.sidecars else None


def ended_by_mismatch(situation: Situation, workload: Workload) -> bool:
    """Return whether a workload ended by a mismatch of versions, by its newest pod, else by its own message."""
    pod = _newest_ended(situation, workload)
    if pod:
        return endings.meaning_of_end(pod, workload) is Meaning.MISMATCH
    return workload.end is not None and f"exit code {EXIT_VERSIONS} " in f"{workload.end.message} "


def mismatch_phase(pod: Pod | None) -> Phase:
    """Return the phase of a run that waits for another version of its trainer or of the operator."""
    if pod and endings.awaits_operator(pod):
        text = "its training is done, and its trainer is newer than this operator, which cannot read the result"
        return Phase.waiting("VersionMismatch", f"{text}: upgrade the operator")
    told = f": {endings.describe_end(pod)}" if pod else ""
    minutes = RETRY_AFTER // timedelta(minutes=1)
    problem = "the trainer's image and this operator are of versions that do not work together"
    text = f"{problem}, tried again every {minutes} min"
    return Phase.waiting("VersionMismatch", f"{text}{told}")


def _newest_ended(situation: Situation, workload: Workload) -> Pod | None:
    own = (pod for pod in reversed(situation.pods) if pod.over and pod.owner_uid == workload.uid)
    return next(own, None)
