"""What the end of a pod means for its run, in the order of the Job's own pod failure policy. Pure."""

from enum import Enum

from whisper_finetune_api.causes import (
    BY_REASON,
    CAUSES,
    EXIT_CONFIG,
    EXIT_DONE,
    EXIT_STOPPED,
    EXIT_VERSIONS,
    FINAL_EXIT_CODES,
    Cause,
)
from whisper_finetune_api.run import CONFIG_ENV
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload


class Meaning(Enum):
    """What the end of a pod means."""

    RESULT = "it ended well, and its result can be read"
    UNREADABLE = "it ended well, and its result cannot be read"
    MISMATCH = "it and this operator do not understand each other: that waits for an upgrade and costs nothing"
    INTERRUPTED = "it was stopped from outside: that costs nothing"
    FINAL = "another attempt would end the same way"
    FAILED = "it counts against spec.retries"


def meaning_of_end(pod: Pod, job: Workload | None) -> Meaning:
    """Return what the end of a pod means. `job` is the run's live workload."""
    if pod.exit_code == EXIT_DONE and pod.last_words.result:
        return Meaning.RESULT
    if _was_let_go(pod, job):
        return Meaning.INTERRUPTED
    if pod.phase == "Succeeded" or (pod.exit_code == EXIT_DONE and not pod.ended):
        return Meaning.MISMATCH if awaits_operator(pod) else Meaning.UNREADABLE
    if pod.disrupted or pod.exit_code == EXIT_STOPPED:
        return Meaning.INTERRUPTED
    if pod.exit_code in (*FINAL_EXIT_CODES, EXIT_VERSIONS):
        return Meaning.MISMATCH if _refuses_config(pod) else Meaning.FINAL
    # Its Job was deleted before it ended, so no Job counts this end as a failure.
    lost_its_job = pod.deleted and not pod.killed_for_memory and not _belongs(pod, job)
    return Meaning.INTERRUPTED if lost_its_job else Meaning.FAILED


def awaits_operator(pod: Pod) -> bool:
    """Return whether the pod ended well with a result that only a newer operator can read."""
    return pod.exit_code == EXIT_DONE and pod.last_words.is_of_a_later_contract


def _refuses_config(pod: Pod) -> bool:
    if pod.exit_code != EXIT_CONFIG:
        return pod.exit_code == EXIT_VERSIONS
    # A trainer of contract 0 has no reason of its own for this: it calls a configuration invalid that it does not know.
    ending = pod.last_words.ending
    return ending is not None and ending.message.startswith(f"${CONFIG_ENV}: ")


def cause_of_exit(exit_code: int, reason: str | None = None) -> Cause | None:
    """Return the cause of an exit code: the one that the trainer names, if that has the code, else the first one."""
    named = BY_REASON.get(reason or "")
    if named and named.exit_code == exit_code:
        return named
    return next((cause for cause in CAUSES if cause.exit_code == exit_code), None)


def describe_end(pod: Pod) -> str:
    """Return how a pod ended in the words of its trainer, else in those of the cluster."""
    ending = pod.last_words.ending
    if ending and ending.message:
        return ending.message
    if pod.killed_for_memory:
        return "the trainer was killed for memory; the runtime's memory limit is too small for this model and batch"
    code = "without an exit code" if pod.exit_code is None else f"with exit code {pod.exit_code}"
    return f"pod {pod.name} ended {code}" + (f" ({pod.remark})" if pod.remark else "")


def _was_let_go(pod: Pod, job: Workload | None) -> bool:
    """Return whether the pod was deleted because its Job was suspended. The Job controller counts no such end.

    The Job may have been resumed before the pod had ended. Then it has a new start time.
    """
    if job is None or not pod.deleted or not _belongs(pod, job):
        return False
    return job.suspended or (job.started_at is not None and pod.created < job.started_at)


def _belongs(pod: Pod, job: Workload | None) -> bool:
    return job is not None and job.uid == pod.owner_uid
