"""What a decision needs to know of the world: each object read once, and each attempt counted exactly once. Pure.

An attempt is over when its trainer is, whatever other containers the pod has.

`countedUntil` is the watermark: the creation of the newest pod that is counted. Pods of a run never overlap
(podReplacementPolicy Failed), and creation times come from one clock, the API server's, while end times come from the
clocks of the nodes. So a pod created later is a pod not counted yet, whatever Job it came from, and counting again
from the written status adds nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from whisper_finetune_api import reading
from whisper_finetune_api.run import TrainerReport
from whisper_finetune_api.v1alpha1 import Attempts, WhisperFineTuneSpec, WhisperFineTuneStatus
from whisper_finetune_operator import next_steps
from whisper_finetune_operator.kubernetes_objects import parse_time, render_time
from whisper_finetune_operator.next_steps import GiveBackPartition
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_leases import PartitionLease
from whisper_finetune_operator.partitions.partition_queue import PartitionQueue
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.workloads import endings, kinds, pods
from whisper_finetune_operator.workloads.endings import Meaning
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload
from whisper_finetune_operator.world import QueueNotice, Refusal, Silence, World

#: Pods and Jobs are watched separately, so a Job's end may be seen before its pod's. So long the pod's end is waited
#: for.
SETTLE_TIME = timedelta(seconds=10)
NO_ATTEMPTS = Attempts()
#: An attempt that worked for so long does not belong to a loop of evictions.
_LONG_WORK = timedelta(hours=1)


class Handling(BaseModel):
    """The part of a spec that the operator itself follows. It is read even where the whole is not understood."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    suspend: bool = False
    retries: int = WhisperFineTuneSpec.model_fields["retries"].default
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None


@dataclass(frozen=True)
class AttemptCounts:
    """The attempts so far."""

    attempts: Attempts
    pod_name: str | None
    running_seconds: int
    #: The pods that this count added, oldest first.
    added: tuple[Pod, ...]
    #: Whether some of the added pods were stopped from outside.
    interrupted: bool = False

    def forgiven(self) -> "AttemptCounts":
        """Return the same counts without interruptions in vain."""
        return replace(self, attempts=self.attempts.model_copy(update={"interrupted_in_vain": 0}))


@dataclass(frozen=True)
class Situation:
    """One run at one moment, in typed facts. What follows from them is worked out when it is first asked for."""

    run: Run
    spec: Handling
    previous: WhisperFineTuneStatus
    #: What is not understood of the previous status, in one line. Empty where all is.
    status_remark: str
    #: All pods with the run's label, whoever owns them now, oldest first.
    labelled: tuple[Pod, ...]
    #: The object with the child's name, whoever owns it. It may be in deletion.
    child: Workload | None
    #: The Leases of the partitions that the run has.
    leases: tuple[PartitionLease, ...]
    partition_queue: PartitionQueue
    report: TrainerReport | None
    #: When the report last changed, where that is known.
    report_changed_at: datetime | None
    silence: Silence | None
    obstacle: Refusal | None
    refusal: Refusal | None
    queue_notice: QueueNotice | None
    now: datetime

    @property
    def is_over(self) -> bool:
        """Whether the run has its result or its final cause."""
        # The raw status decides. Whatever else another version says there, a run that is over stays so.
        told = self.run.status.get("conditions") or ()
        return any(each.get("type") == "Succeeded" and each.get("status") in ("True", "False") for each in told)

    @property
    def workload(self) -> Workload | None:
        """The run's live workload. None where there is none, or it is in deletion, or it is somebody else's."""
        child = self.child
        return child if child and child.owner_uid == self.run.uid and not child.deleted else None

    @property
    def blocked_by(self) -> Workload | None:
        """An object under the child's name that keeps a new workload from being made."""
        return self.child if self.workload is None else None

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """Pods made by the run's workloads, oldest first.

        Only these are counted and read: whoever may label a pod must not be able to write a run's result.
        """
        name = self.run.child_name
        return tuple(each for each in self.labelled if each.owner_name == name or kinds.is_pod_name(each.name, name))

    @cached_property
    def busy(self) -> tuple[Pod, ...]:
        """Pods with the run's label that may still be running, oldest first. Some may have lost their owner."""
        return tuple(pod for pod in self.labelled if not pod.ended)

    @cached_property
    def counts(self) -> AttemptCounts:
        """The attempts so far."""
        counts = count_attempts(self.previous, self.pods, self.workload, self.now)
        # What the user stops is not stopped in vain.
        return counts.forgiven() if self.spec.suspend else counts

    @property
    def at_work(self) -> Pod | None:
        """The newest pod that may still be running."""
        return self.busy[-1] if self.busy else None

    @property
    def lease(self) -> PartitionLease | None:
        """The Lease of the partition that the run uses: its workload's, or the only one."""
        wanted = self.workload.partition if self.workload else None
        return next((lease for lease in self.leases if wanted in (None, lease.name)), None)

    @property
    def giving_back(self) -> tuple[GiveBackPartition, ...]:
        """What gives all partitions back. Nothing does while a pod may run, or a workload may make another.

        A pod on a node that does not answer may still run, and so may one of a workload that is being deleted.
        """
        child = self.child
        could_make_another = child is not None and child.owner_uid == self.run.uid and child.end is None
        return () if could_make_another or self.busy else next_steps.give_back(self.leases)

    @property
    def running_time(self) -> timedelta:
        """The running time so far, over all attempts and the one at work."""
        ended = timedelta(seconds=self.counts.running_seconds)
        if self.at_work is None or self.at_work.over or self.at_work.started_at is None:
            return ended
        return ended + max(timedelta(), self.now - self.at_work.started_at)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is not understood of the status and of the last words that were just counted, for the log."""
        last_words = () if self.is_over or self.run.deletion else (pod.last_words.remark for pod in self.counts.added)
        told = tuple(f"termination message: {remark}" for remark in last_words if remark)
        return (f"status: {self.status_remark}", *told) if self.status_remark else told


def read_situation(world: World) -> Situation:
    """Return all that the world shows, in typed facts. Each of its objects is read here and nowhere else."""
    run = world.run
    found = reading.read_leniently(WhisperFineTuneStatus, run.status)
    labelled = tuple(sorted(map(pods.read_pod, world.pods), key=lambda pod: pod.created))
    return Situation(
        run=run,
        spec=reading.read_leniently(Handling, run.spec).model,
        previous=found.model,
        status_remark=found.remark(),
        labelled=labelled,
        child=KINDS[world.workload["kind"]].read(world.workload, labelled) if world.workload else None,
        leases=tuple(map(partition_leases.read_lease, world.leases)),
        partition_queue=world.partition_queue,
        # An address may belong to another pod by now.
        report=world.report if world.report and world.report.uid == run.uid else None,
        report_changed_at=world.report_changed_at,
        silence=world.silence,
        obstacle=world.obstacle,
        refusal=world.refusal,
        queue_notice=world.queue_notice,
        now=world.now,
    )


def count_attempts(
    previous: WhisperFineTuneStatus, pods: tuple[Pod, ...], job: Workload | None, now: datetime
) -> AttemptCounts:
    """Return the totals. `pods` are the run's own, oldest first, and `job` is its live workload."""
    before = previous.attempts or NO_ATTEMPTS
    until = parse_time(before.counted_until) if before.counted_until else None
    added = tuple(pod for pod in pods if pod.over and _is_after(pod.created, until) and not _is_open(pod, job))
    meanings = [endings.meaning_of_end(pod, job) for pod in added]
    complete = job if job and job.end and job.end.type == "Complete" else None
    completing = [pod for pod in pods if complete and pod.owner_uid == complete.uid and pod.phase != "Failed"]
    result_lost = complete is not None and not completing and _is_overdue(complete, until, now)
    # From here on the pod may be deleted before its Job without the result being lost.
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
    """Return whether there was anything to stop. A pod whose Job went before the pod could start was not stopped."""
    return meaning is Meaning.INTERRUPTED and (pod.started_at is not None or pod.disrupted)


def _reached(previous: WhisperFineTuneStatus, interrupted: tuple[Pod, ...]) -> int:
    endings_read = (pod.last_words.ending for pod in interrupted)
    told = (checkpoint.step for ending in endings_read if ending for checkpoint in ending.checkpoints)
    return max((*told, *(checkpoint.step for checkpoint in previous.checkpoints)), default=0)


def _in_vain(before: Attempts, interrupted: tuple[Pod, ...], reached: int | None) -> int:
    """Return how many interruptions in a row got the run no further. An attempt that worked for long ends the row.

    Where the operator cannot reach trainers, nobody knows how far a killed one came.
    """
    further = (reached or 0) > (before.reached_step or 0)
    worked = any(pod.seconds >= _LONG_WORK.total_seconds() for pod in interrupted)
    return 0 if interrupted and (further or worked) else before.interrupted_in_vain + len(interrupted)


def _seconds(pod: Pod, now: datetime) -> int:
    """Return how long the trainer ran. Where its node is lost, the time that it was last known to run counts."""
    if pod.started_at is None or pod.finished_at or not pod.ended:
        return pod.seconds
    return max(0, round(((pod.last_known_at or now) - pod.started_at).total_seconds()))


def _lacked_memory(pod: Pod, meaning: Meaning) -> bool:
    return pod.killed_for_memory and meaning is not Meaning.INTERRUPTED


def _is_open(pod: Pod, job: Workload | None) -> bool:
    """Return whether it is not decided yet how the pod is counted.

    The Job's end will tell in a moment, or a newer operator will.
    """
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
    """Return whether a complete Job's pod, which was neither seen nor counted, should have been seen by now."""
    return complete.end is not None and _is_after(complete.end.at, until) and now - complete.end.at >= SETTLE_TIME


def _end_of(closed: Workload | None) -> datetime | None:
    return closed.end.at if closed and closed.end else None


def _newest(*moments: datetime | None) -> str | None:
    """Return the newest of the moments as the API writes it."""
    known = [moment for moment in moments if moment]
    return render_time(max(known)) if known else None


def _newly_seen(seen_until: str | None, known: str | None, pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """Return the pods that were never seen before. An IPUJob's pods all have one name."""
    if seen_until is None:
        return pods
    until = parse_time(seen_until)
    return tuple(pod for pod in pods if pod.created > until or (pod.created == until and pod.name != known))


def _vanished(before: Attempts, pods: tuple[Pod, ...], workload: Workload | None) -> datetime | None:
    """Return when a live workload's pod was made that was seen once and is gone without an end that was seen.

    A controller that tries again counts such a pod and makes another. Any other controller does neither.
    """
    if workload is None or workload.kind.is_retried_by_its_controller or before.seen_until is None:
        return None
    seen = parse_time(before.seen_until)
    counted = before.counted_until is not None and parse_time(before.counted_until) >= seen
    return None if counted or seen < workload.created or any(pod.created >= seen for pod in pods) else seen
