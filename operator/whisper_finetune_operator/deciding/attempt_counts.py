"""Count each attempt exactly once, over all workloads of a run.

An attempt is over when its trainer is, whatever other containers the pod has.

`countedUntil` is the watermark: the creation of the newest pod that is counted. Pods of a run never overlap
(podReplacementPolicy Failed), and creation times come from one clock, the API server's, while end times come from the
clocks of the nodes. So a pod created later is a pod not counted yet, whatever Job it came from, and counting again
from the written status adds nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from whisper_finetune_api.v1alpha1 import Attempts, WhisperFineTuneStatus
from whisper_finetune_operator.kubernetes_objects import parse_time, render_time
from whisper_finetune_operator.workloads import endings
from whisper_finetune_operator.workloads.endings import Meaning
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload

#: Pods and Jobs are watched apart: a Job's end may be seen before its pod's. So long the pod's end is waited for.
SETTLE_TIME = timedelta(seconds=10)
#: An attempt that worked for so long is not one of a loop of evictions.
_LONG_WORK = timedelta(hours=1)


@dataclass(frozen=True)
class AttemptCounts:
    """The attempts so far."""

    attempts: Attempts
    pod_name: str | None
    running_seconds: int
    #: The pods that this count added, oldest first.
    added: tuple[Pod, ...]
    #: Whether some of these were stopped from outside.
    interrupted: bool = False

    def forgiven(self) -> "AttemptCounts":
        """Return the same without interruptions in vain."""
        return replace(self, attempts=self.attempts.model_copy(update={"interrupted_in_vain": 0}))


def count_attempts(
    previous: WhisperFineTuneStatus, pods: tuple[Pod, ...], job: Workload | None, now: datetime
) -> AttemptCounts:
    """Return the totals; `pods` are the run's own, oldest first, `job` its live workload."""
    before = previous.attempts or Attempts()
    until = parse_time(before.counted_until) if before.counted_until else None
    added = tuple(pod for pod in pods if pod.over and _is_after(pod.created, until) and not _is_open(pod, job))
    meanings = [endings.meaning_of_end(pod, job) for pod in added]
    complete = job if job and job.end and job.end.type == "Complete" else None
    completing = [pod for pod in pods if complete and pod.owner_uid == complete.uid and pod.phase != "Failed"]
    result_lost = complete is not None and not completing and _is_overdue(complete, until, now)
    # From here on the pod may go before its Job, and its result is not lost by that.
    closed = complete if result_lost or any(pod.ended and not _is_open(pod, job) for pod in completing) else None
    seen = _newly_seen(before.seen_until, previous.pod_name, pods)
    vanished = _vanished(before, pods, job)
    interrupted = tuple(pod for pod, meaning in zip(added, meanings, strict=True) if _was_stopped(pod, meaning))
    reached = _reached(previous, interrupted) if interrupted else before.reached_step
    attempts = Attempts(
        started=before.started + len(seen),
        failed=before.failed + sum(meaning in (Meaning.FAILED, Meaning.FINAL) for meaning in meanings) + bool(vanished),
        interrupted=before.interrupted + len(interrupted),
        interrupted_in_vain=_in_vain(before, interrupted, reached),
        reached_step=reached,
        out_of_memory=before.out_of_memory + sum(_lacked_memory(*end) for end in zip(added, meanings, strict=True)),
        unreadable=before.unreadable + meanings.count(Meaning.UNREADABLE) + result_lost,
        counted_until=_newest(until, *(pod.created for pod in added), _end_of(closed), vanished),
        seen_until=render_time(seen[-1].created) if seen else before.seen_until,
    )
    return AttemptCounts(
        attempts=attempts,
        pod_name=seen[-1].name if seen else previous.pod_name,
        running_seconds=(previous.running_seconds or 0) + sum(_seconds(pod, now) for pod in added),
        added=added,
        interrupted=bool(interrupted),
    )


def _is_after(moment: datetime, until: datetime | None) -> bool:
    return until is None or moment > until


def _was_stopped(pod: Pod, meaning: Meaning) -> bool:
    """Return whether there was anything to stop: a pod whose Job went before it could start is nothing but gone."""
    return meaning is Meaning.INTERRUPTED and (pod.started_at is not None or pod.disrupted)


def _reached(previous: WhisperFineTuneStatus, interrupted: tuple[Pod, ...]) -> int:
    endings_read = (pod.last_words.ending for pod in interrupted)
    told = (checkpoint.step for ending in endings_read if ending for checkpoint in ending.checkpoints)
    return max((*told, *(checkpoint.step for checkpoint in previous.checkpoints)), default=0)


def _in_vain(before: Attempts, interrupted: tuple[Pod, ...], reached: int | None) -> int:
    """Return how many in a row got the run no further; one that worked for long is none of them.

    Where no trainer can be heard, nobody knows how far one came that was killed.
    """
    further = (reached or 0) > (before.reached_step or 0)
    worked = any(pod.seconds >= _LONG_WORK.total_seconds() for pod in interrupted)
    return 0 if interrupted and (further or worked) else before.interrupted_in_vain + len(interrupted)


def _seconds(pod: Pod, now: datetime) -> int:
    """Return how long the trainer ran; of one whose node went, as far as anybody knows."""
    if pod.started_at is None or pod.finished_at or not pod.ended:
        return pod.seconds
    return max(0, round(((pod.last_known_at or now) - pod.started_at).total_seconds()))


def _lacked_memory(pod: Pod, meaning: Meaning) -> bool:
    return pod.killed_for_memory and meaning is not Meaning.INTERRUPTED


def _is_open(pod: Pod, job: Workload | None) -> bool:
    """Return whether what is to come decides how this pod is counted: the Job's end at once, or a newer operator."""
    if endings.awaits_operator(pod):
        return True
    unreadable = endings.meaning_of_end(pod, job) is Meaning.UNREADABLE
    return (
        unreadable
        and job is not None
        and job.kind.is_retried_by_its_controller
        and job.uid == pod.owner_uid
        and job.end is None
    )


def _is_overdue(complete: Workload, until: datetime | None, now: datetime) -> bool:
    """Return whether the pod of a complete Job, not in sight and not counted, should have been seen by now."""
    return complete.end is not None and _is_after(complete.end.at, until) and now - complete.end.at >= SETTLE_TIME


def _end_of(closed: Workload | None) -> datetime | None:
    return closed.end.at if closed and closed.end else None


def _newest(*moments: datetime | None) -> str | None:
    """Return the newest of them as the API writes it."""
    known = [moment for moment in moments if moment]
    return render_time(max(known)) if known else None


def _newly_seen(seen_until: str | None, known: str | None, pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """Return the pods that were never seen before; an IPUJob's pods all have one name."""
    if seen_until is None:
        return pods
    until = parse_time(seen_until)
    return tuple(pod for pod in pods if pod.created > until or (pod.created == until and pod.name != known))


def _vanished(before: Attempts, pods: tuple[Pod, ...], workload: Workload | None) -> datetime | None:
    """Return when the pod of a live workload was made that was seen, and went without an end that was seen.

    A controller that tries again counts such a pod and makes another; one that does not does neither.
    """
    if workload is None or workload.kind.is_retried_by_its_controller or before.seen_until is None:
        return None
    seen = parse_time(before.seen_until)
    counted = before.counted_until is not None and parse_time(before.counted_until) >= seen
    return None if counted or seen < workload.created or any(pod.created >= seen for pod in pods) else seen
