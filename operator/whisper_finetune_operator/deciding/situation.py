"""What a decision needs to know of the world, read once and counted once."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from whisper_finetune_api import reading
from whisper_finetune_api.run import TrainerReport
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec, WhisperFineTuneStatus
from whisper_finetune_operator.deciding import actions, attempt_counts
from whisper_finetune_operator.deciding.actions import GiveBackPartition
from whisper_finetune_operator.deciding.attempt_counts import AttemptCounts
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_leases import PartitionLease
from whisper_finetune_operator.partitions.partition_queue import PartitionQueue
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.workloads import kinds, pods
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload
from whisper_finetune_operator.world import Refusal, Silence, World


class Handling(BaseModel):
    """What of a spec the operator itself follows: it is read where the whole is not understood."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    suspend: bool = False
    retries: int = WhisperFineTuneSpec.model_fields["retries"].default
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None


@dataclass(frozen=True)
class Facts:
    """What the world shows of a run: each of its objects is read here once, and nowhere else in a decision."""

    run: Run
    spec: Handling
    previous: WhisperFineTuneStatus
    #: What of the previous status is not understood, in one line; empty where nothing is left out.
    remark: str
    #: The run has its result or its final cause.
    is_over: bool
    #: Those with the run's label, whoever owns them now, oldest first.
    pods: tuple[Pod, ...]
    #: What has the child's name, whoever owns it; it may be being deleted.
    child: Workload | None
    #: Of the partitions that the run has.
    leases: tuple[PartitionLease, ...]
    now: datetime

    @property
    def remarks(self) -> tuple[str, ...]:
        """What of the previous status is not understood, for the log."""
        return (f"status: {self.remark}",) if self.remark else ()

    @property
    def workload(self) -> Workload | None:
        """The run's live workload; None where there is none, or it is being deleted, or it is somebody else's."""
        child = self.child
        return child if child and child.owner_uid == self.run.uid and not child.deleted else None

    @property
    def busy(self) -> tuple[Pod, ...]:
        """Pods that may still be running, oldest first."""
        return tuple(pod for pod in self.pods if not pod.ended)

    @property
    def giving_back(self) -> tuple[GiveBackPartition, ...]:
        """What gives all partitions back: nothing while a pod may run, or a workload may make another.

        A pod on a node that does not answer may still run, and so may one of a workload that is being deleted.
        """
        child = self.child
        could_make_another = child is not None and child.owner_uid == self.run.uid and child.end is None
        return () if could_make_another or self.busy else actions.give_back(self.leases)


@dataclass(frozen=True)
class Situation:
    """One run at one moment, in typed facts."""

    run: Run
    spec: Handling
    previous: WhisperFineTuneStatus
    #: The run's live workload; None where there is none, or it is being deleted, or it is somebody else's.
    workload: Workload | None
    #: An object under the child's name that keeps a new workload from being made.
    blocked_by: Workload | None
    #: Pods made by the run's workloads, oldest first.
    pods: tuple[Pod, ...]
    #: Those, and pods that lost their owner, that may still be running, oldest first.
    busy: tuple[Pod, ...]
    counts: AttemptCounts
    report: TrainerReport | None
    #: When the report last said something else than before, where that is known.
    report_changed_at: datetime | None
    silence: Silence | None
    obstacle: Refusal | None
    refusal: Refusal | None
    now: datetime
    #: Of the partitions that the run has.
    leases: tuple[PartitionLease, ...]
    #: What gives them back where no pod is at work and none can be made but by a new Job.
    giving_back: tuple[GiveBackPartition, ...]
    line: PartitionQueue
    #: What of the status and of trainers' last words is not understood, for the log.
    remarks: tuple[str, ...]

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
    def running_time(self) -> timedelta:
        """The running time so far, over all attempts and the one at work."""
        ended = timedelta(seconds=self.counts.running_seconds)
        if self.at_work is None or self.at_work.over or self.at_work.started_at is None:
            return ended
        return ended + max(timedelta(), self.now - self.at_work.started_at)


def read_facts(world: World) -> Facts:
    """Return all that the world shows, in typed facts."""
    found = reading.read_leniently(WhisperFineTuneStatus, world.run.status)
    shown = tuple(sorted(map(pods.read_pod, world.pods), key=lambda pod: pod.created))
    return Facts(
        run=world.run,
        spec=reading.read_leniently(Handling, world.run.spec).model,
        previous=found.model,
        remark=found.remark(),
        is_over=_is_over(world.run),
        pods=shown,
        child=KINDS[world.workload["kind"]].read(world.workload, shown) if world.workload else None,
        leases=tuple(map(partition_leases.read_lease, world.leases)),
        now=world.now,
    )


def _is_over(run: Run) -> bool:
    # By the raw status: whatever else another version says there, a run that is over stays so.
    told = run.status.get("conditions") or ()
    return any(each.get("type") == "Succeeded" and each.get("status") in ("True", "False") for each in told)


def read_situation(world: World, facts: Facts) -> Situation:
    """Return the situation of a run that is not over."""
    run, workload, previous = facts.run, facts.workload, facts.previous
    # Who may label a pod may not thereby write a run's result: only pods of the run's workloads are counted and read.
    own = tuple(pod for pod in facts.pods if _is_of_workload(pod, run.child_name))
    counts = attempt_counts.count_attempts(previous, own, workload, facts.now)
    return Situation(
        run=run,
        spec=facts.spec,
        previous=previous,
        workload=workload,
        blocked_by=facts.child if workload is None else None,
        pods=own,
        busy=facts.busy,
        # What its user stops is not stopped in vain.
        counts=counts.forgiven() if facts.spec.suspend else counts,
        report=_trusted(world.report, run),
        report_changed_at=world.report_changed_at,
        silence=world.silence,
        obstacle=world.obstacle,
        refusal=world.refusal,
        now=facts.now,
        leases=facts.leases,
        giving_back=facts.giving_back,
        line=world.line,
        remarks=(*facts.remarks, *_remarks(counts.added)),
    )


def _is_of_workload(pod: Pod, child_name: str) -> bool:
    return pod.owner_name == child_name or pod.name in kinds.fixed_pod_names(child_name)


def _remarks(added: tuple[Pod, ...]) -> tuple[str, ...]:
    last_words = (pod.last_words.remark for pod in added)
    return tuple(f"termination message: {remark}" for remark in last_words if remark)


def _trusted(report: TrainerReport | None, run: Run) -> TrainerReport | None:
    # An address may belong to another pod by now.
    return report if report and report.uid == run.uid else None
