"""What to do about a run whose IPUJob is there: it makes one pod, and each further attempt is another IPUJob. Pure."""

from whisper_finetune_operator import pod_phases, pod_under_way, timestamps
from whisper_finetune_operator.actions import Action, DeleteWorkload
from whisper_finetune_operator.course import Course
from whisper_finetune_operator.phases import NOT_STARTED, Phase
from whisper_finetune_operator.situation import Situation
from whisper_finetune_operator.workload_facts import Workload


def find(situation: Situation, ipu_job: Workload) -> Course:
    """Return the course of a run that is not over."""
    if situation.at_work:
        return pod_under_way.find(situation, situation.at_work)
    if ipu_job.end or _had_its_pod(situation, ipu_job):
        delete = DeleteWorkload(
            "IPUJob", ipu_job.name, ipu_job.uid, "its pod is over: another attempt needs another one"
        )
        return Course(pod_phases.retrying(situation) or NOT_STARTED, (delete,))
    return Course(pod_phases.retrying(situation) or _not_started(ipu_job))


def stop(ipu_job: Workload) -> tuple[Action, ...]:
    """Return what ends its pod; one that has ended stays to be read."""
    return () if ipu_job.end else (DeleteWorkload("IPUJob", ipu_job.name, ipu_job.uid, "the run is over"),)


def _had_its_pod(situation: Situation, ipu_job: Workload) -> bool:
    """Return whether its pod was seen, and is gone without an end that could be counted."""
    seen = situation.tally.attempts.seen_until
    return seen is not None and timestamps.parse(seen) >= ipu_job.created


def _not_started(ipu_job: Workload) -> Phase:
    told = f": {ipu_job.remark}" if ipu_job.remark else ""
    return Phase("Pending", "Pending", f"Graphcore's IPU operator has not made the trainer's pod yet{told}")
