"""Count each attempt exactly once, over all workloads of a run.

`countedUntil` is the watermark: the creation of the newest ended pod that is counted. Pods of a run never overlap
(podReplacementPolicy Failed), and creation times come from one clock, the API server's, while end times come from the
clocks of the nodes. So a pod created later is a pod not counted yet, whatever Job it came from, and counting again
from the written status adds nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from whisper_finetune_api.v1alpha1 import Attempts, WhisperFineTuneStatus
from whisper_finetune_operator import endings, timestamps
from whisper_finetune_operator.endings import Meaning
from whisper_finetune_operator.jobs import Job
from whisper_finetune_operator.pods import Pod

#: Pods and Jobs are watched apart: a Job's end may be seen before its pod's. So long the pod's end is waited for.
SETTLE_TIME = timedelta(seconds=10)


@dataclass(frozen=True)
class Tally:
    """The attempts so far."""

    attempts: Attempts
    pod_name: str | None
    running_seconds: int
    #: The ended pods that this count added, oldest first.
    added: tuple[Pod, ...]


def count(previous: WhisperFineTuneStatus, pods: tuple[Pod, ...], job: Job | None, uid: str, now: datetime) -> Tally:
    """Return the totals; `pods` are the run's own, oldest first, `job` its live Job."""
    before = previous.attempts or Attempts()
    until = timestamps.parse(before.counted_until) if before.counted_until else None
    added = tuple(pod for pod in pods if pod.ended and _is_after(pod.created, until) and not _is_open(pod, job, uid))
    meanings = [endings.meaning(pod, job, uid) for pod in added]
    complete = job if job and job.end and job.end.type == "Complete" else None
    completing = [pod for pod in pods if complete and pod.owner_uid == complete.uid and pod.phase != "Failed"]
    lost = complete is not None and not completing and _is_overdue(complete, until, now)
    # From here on the pod may go before its Job, and its result is not lost by that.
    closed = complete if lost or any(pod.ended for pod in completing) else None
    seen = _newly_seen(previous.pod_name, pods, until)
    attempts = Attempts(
        started=before.started + len(seen),
        failed=before.failed + sum(meaning in (Meaning.FAILED, Meaning.FINAL) for meaning in meanings),
        out_of_memory=before.out_of_memory + sum(pod.killed_for_memory and not pod.disrupted for pod in added),
        unreadable=before.unreadable + meanings.count(Meaning.UNREADABLE) + lost,
        counted_until=_watermark(until, added, closed),
    )
    return Tally(
        attempts=attempts,
        pod_name=seen[-1].name if seen else previous.pod_name,
        running_seconds=(previous.running_seconds or 0) + sum(pod.seconds for pod in added),
        added=added,
    )


def _is_after(moment: datetime, until: datetime | None) -> bool:
    return until is None or moment > until


def _is_open(pod: Pod, job: Job | None, uid: str) -> bool:
    """Return whether the end of the Job, which follows at once, decides how this pod is counted."""
    unreadable = endings.meaning(pod, job, uid) is Meaning.UNREADABLE
    return unreadable and job is not None and job.uid == pod.owner_uid and job.end is None


def _is_overdue(complete: Job, until: datetime | None, now: datetime) -> bool:
    """Return whether the pod of a complete Job, not in sight and not counted, should have been seen by now."""
    return complete.end is not None and _is_after(complete.end.at, until) and now - complete.end.at >= SETTLE_TIME


def _watermark(until: datetime | None, added: tuple[Pod, ...], closed: Job | None) -> str | None:
    """Return the new watermark: above the pods that were added, and above the end of a Job that is closed."""
    ends = [closed.end.at] if closed and closed.end else []
    moments = [moment for moment in (until, *(pod.created for pod in added), *ends) if moment]
    return timestamps.render(max(moments)) if moments else None


def _newly_seen(known: str | None, pods: tuple[Pod, ...], until: datetime | None) -> tuple[Pod, ...]:
    """Return the pods that were never seen before: those after the known one, or, when it is gone, the uncounted."""
    names = [pod.name for pod in pods]
    if known in names:
        return pods[names.index(known) + 1 :]
    return tuple(pod for pod in pods if _is_after(pod.created, until))
