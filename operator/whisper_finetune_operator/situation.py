"""What a decision needs to know of the world, read once and counted once."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from whisper_finetune_api.run import TrainerReport
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec, WhisperFineTuneStatus
from whisper_finetune_operator import accounting, giving_back, jobs, names, partition_leases, pods
from whisper_finetune_operator.accounting import Tally
from whisper_finetune_operator.actions import GiveBackPartition
from whisper_finetune_operator.jobs import Job
from whisper_finetune_operator.partition_leases import PartitionLease
from whisper_finetune_operator.partition_line import Line
from whisper_finetune_operator.pods import Pod
from whisper_finetune_operator.world import Refusal, Run, World


@dataclass(frozen=True)
class Situation:
    """One run at one moment, in typed facts."""

    run: Run
    spec: WhisperFineTuneSpec
    previous: WhisperFineTuneStatus
    #: The run's live Job; None where there is none, or it is being deleted, or it is somebody else's.
    job: Job | None
    #: An object under the child's name that keeps a new Job from being made.
    blocked_by: Job | None
    #: Pods made by the run's Jobs, oldest first.
    pods: tuple[Pod, ...]
    #: Those with the run's label, whoever owns them now, that may still be running, oldest first.
    busy: tuple[Pod, ...]
    tally: Tally
    report: TrainerReport | None
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
        """The Lease of the partition that the run uses: its Job's, or the only one."""
        wanted = self.job.partition if self.job else None
        return next((lease for lease in self.leases if wanted in (None, lease.name)), None)

    @property
    def running_time(self) -> timedelta:
        """The running time so far, over all attempts and the one at work."""
        ended = timedelta(seconds=self.tally.running_seconds)
        if self.at_work is None or self.at_work.ended or self.at_work.started_at is None:
            return ended
        return ended + max(timedelta(), self.now - self.at_work.started_at)


def read(world: World, spec: WhisperFineTuneSpec, previous: WhisperFineTuneStatus) -> Situation:
    """Return the situation that the world shows."""
    run = world.run
    child = jobs.read(world.job) if world.job else None
    job = child if child and child.owner_uid == run.uid and not child.deleted else None
    labelled = sorted(map(pods.read, world.pods), key=lambda pod: pod.created)
    child_name = names.child_name(run.name, run.uid)
    # Who may label a pod may not thereby write a run's result: only pods of the run's Jobs are counted and read.
    own = tuple(pod for pod in labelled if pod.owner_name == child_name)
    return Situation(
        run=run,
        spec=spec,
        previous=previous,
        job=job,
        blocked_by=child if job is None else None,
        pods=own,
        busy=tuple(pod for pod in labelled if not pod.ended),
        tally=accounting.count(previous, own, job, run.uid, world.now),
        report=_trusted(world.report, run),
        refusal=world.refusal,
        now=world.now,
        leases=tuple(map(partition_leases.read, world.leases)),
        giving_back=giving_back.where_idle(world),
        line=world.line,
    )


def _trusted(report: TrainerReport | None, run: Run) -> TrainerReport | None:
    # An address may belong to another pod by now.
    return report if report and report.uid == run.uid else None
