"""What a decision needs to know of the world, read once and counted once."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from whisper_finetune_api.run import TrainerReport
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec, WhisperFineTuneStatus
from whisper_finetune_operator.deciding import accounting, giving_back
from whisper_finetune_operator.deciding.accounting import Tally
from whisper_finetune_operator.deciding.actions import GiveBackPartition
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_leases import PartitionLease
from whisper_finetune_operator.partitions.partition_line import Line
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.planning import plan
from whisper_finetune_operator.planning.plan import Handling
from whisper_finetune_operator.workloads import ipu_jobs, names, pods, workloads
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_facts import Workload
from whisper_finetune_operator.world import Refusal, Run, Silence, World


@dataclass(frozen=True)
class Situation:
    """One run at one moment, in typed facts."""

    run: Run
    #: What of the spec the operator itself follows.
    spec: Handling
    #: The whole spec, or why it cannot be understood.
    wanted: WhisperFineTuneSpec | Phase
    previous: WhisperFineTuneStatus
    #: The run's live workload; None where there is none, or it is being deleted, or it is somebody else's.
    workload: Workload | None
    #: An object under the child's name that keeps a new workload from being made.
    blocked_by: Workload | None
    #: Pods made by the run's workloads, oldest first.
    pods: tuple[Pod, ...]
    #: Those, and pods that lost their owner, that may still be running, oldest first.
    busy: tuple[Pod, ...]
    tally: Tally
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
    line: Line

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
        ended = timedelta(seconds=self.tally.running_seconds)
        if self.at_work is None or self.at_work.over or self.at_work.started_at is None:
            return ended
        return ended + max(timedelta(), self.now - self.at_work.started_at)


def read(world: World, previous: WhisperFineTuneStatus) -> Situation:
    """Return the situation that the world shows."""
    run = world.run
    labelled = tuple(sorted(map(pods.read, world.pods), key=lambda pod: pod.created))
    child = workloads.read(world.workload, labelled) if world.workload else None
    workload = child if child and child.owner_uid == run.uid and not child.deleted else None
    child_name = names.child_name(run.name, run.uid)
    # Who may label a pod may not thereby write a run's result: only pods of the run's workloads are counted and read.
    worker = ipu_jobs.worker_name(child_name)
    own = tuple(pod for pod in labelled if pod.owner_name == child_name or pod.name == worker)
    spec = plan.read_handling(run)
    tally = accounting.count(previous, own, workload, run.uid, world.now)
    return Situation(
        run=run,
        spec=spec,
        wanted=plan.read_spec(run),
        previous=previous,
        workload=workload,
        blocked_by=child if workload is None else None,
        pods=own,
        busy=tuple(pod for pod in labelled if not pod.ended),
        # What its user stops is not stopped in vain.
        tally=tally.forgiven() if spec.suspend else tally,
        report=_trusted(world.report, run),
        report_changed_at=world.report_changed_at,
        silence=world.silence,
        obstacle=world.obstacle,
        refusal=world.refusal,
        now=world.now,
        leases=tuple(map(partition_leases.read, world.leases)),
        giving_back=giving_back.where_idle(world),
        line=world.line,
    )


def _trusted(report: TrainerReport | None, run: Run) -> TrainerReport | None:
    # An address may belong to another pod by now.
    return report if report and report.uid == run.uid else None
