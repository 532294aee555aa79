"""Find out whether a run is over, and why: with its result, or by one of the final causes."""

import re
from collections.abc import Callable
from datetime import timedelta

from whisper_finetune_api.causes import BY_REASON, FINAL_EXIT_CODES
from whisper_finetune_operator import phases
from whisper_finetune_operator.deciding import version_mismatch
from whisper_finetune_operator.deciding.attempt_counts import SETTLE_TIME
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.workloads import endings, results
from whisper_finetune_operator.workloads.endings import Meaning
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload

_OUT_OF_MEMORY_LIMIT = 2
_UNREADABLE_LIMIT = 2


def final_phase(situation: Situation) -> Phase | None:
    """Return the final phase of a run that is over, else None; a result goes before every cause."""
    return next((phase for rule in _RULES if (phase := rule(situation))), None)


def ends_workload(job: Workload, reason: str, failed: int) -> bool:
    """Return whether what ended the run has ended its workload, or is about to: a Job controller sees the same pod."""
    if job.end or not job.kind.is_retried_by_its_controller:
        return job.end is not None
    if reason == "RetriesExhausted":
        return failed - job.failed_before > job.backoff_limit
    cause = BY_REASON.get(reason)
    if cause is None:
        return not job.suspended
    # The kubelet's kills for memory end no Job; the trainer's own OutOfMemory does, and has ended it in a moment. A
    # suspended Job counts no end of a pod any more, and could be resumed.
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
    where = f"{results.folder_of_run(situation.run)}/{ending.model.path}"
    return Phase("Succeeded", "Succeeded", f"{scores}; model: {where}")


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
    return phases.failed("OutOfMemory", message)


def _result_unreadable(situation: Situation) -> Phase | None:
    if situation.counts.attempts.unreadable < _UNREADABLE_LIMIT:
        return None
    if situation.counts.attempts.started:
        message = "the trainer ended well twice, and its result could not be read; the runtime's image may not be ours"
    else:
        message = "its Job was complete twice, and no pod of it was seen in this cluster: nothing tells the result"
    return phases.failed("ResultUnreadable", message)


def _job_failed(situation: Situation) -> Phase | None:
    """Judge by the Job's own end where the pod behind it is gone, or where the Job alone knows."""
    end = situation.workload.end if situation.workload else None
    if end is None or end.type != "Failed":
        return None
    if end.reason == "DeadlineExceeded":
        return _deadline(situation)
    if situation.workload and version_mismatch.ended_by_mismatch(situation, situation.workload):
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
    """Return the phase of a Job that its pod failure policy failed, by the code in the Job controller's own words."""
    code = re.search(r"exit code (\d+)", message)
    return (code and _by_exit_code(int(code[1]), None, message)) or phases.failed("RetriesExhausted", message)


def _by_exit_code(exit_code: int, reason: str | None, message: str) -> Phase | None:
    cause = endings.cause_of_exit(exit_code, reason) if exit_code in FINAL_EXIT_CODES else None
    return phases.failed(cause.reason, message) if cause else None


def _retries(situation: Situation) -> Phase:
    failed, retries = situation.counts.attempts.failed, situation.spec.retries
    pod = next((pod for pod in reversed(situation.pods) if pod.over), None)
    last = f"; the last one: {endings.describe_end(pod)}" if pod else ""
    end = situation.workload.end if situation.workload else None
    if end and failed <= retries:
        seen = f"{failed} of its pods were seen to fail, the others went without an end"
        return phases.failed("RetriesExhausted", f"its Job gave up ({end.message}); spec.retries is {retries}; {seen}")
    return phases.failed("RetriesExhausted", f"{failed} attempts failed and spec.retries is {retries}{last}")


def _deadline(situation: Situation) -> Phase:
    limit = situation.spec.active_deadline_seconds
    seconds = f"{limit} seconds" if limit else "its Job allows"
    message = f"ran longer than {seconds} over all attempts; make a new run with a longer activeDeadlineSeconds"
    return phases.failed("DeadlineExceeded", message)


def _newest(situation: Situation, meaning: Meaning) -> Pod | None:
    over = (pod for pod in reversed(situation.pods) if pod.over)
    return next((pod for pod in over if endings.meaning_of_end(pod, situation.workload) is meaning), None)


def _end_is_shown(situation: Situation) -> bool:
    newest = situation.pods[-1] if situation.pods else None
    return bool(newest and newest.over and situation.workload and newest.owner_uid == situation.workload.uid)


def _is_settled(situation: Situation) -> bool:
    end = situation.workload.end if situation.workload else None
    return end is not None and situation.now - end.at >= SETTLE_TIME
