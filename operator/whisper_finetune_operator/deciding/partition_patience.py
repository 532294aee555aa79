"""When a run whose pod does not get to run gives its partition back, and when it stands in line again. Pure.

A namespace that is set up badly must not keep a partition from everybody else for as long as nobody mends it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from whisper_finetune_api.v1alpha1 import PartitionBackOff
from whisper_finetune_operator import timestamps
from whisper_finetune_operator.back_off import doubled
from whisper_finetune_operator.deciding import conditions
from whisper_finetune_operator.deciding.actions import Action, delete_workload
from whisper_finetune_operator.deciding.course import NextStep
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import Phase

#: So long a partition is kept for a pod that something keeps from running which somebody has to mend.
PATIENCE = timedelta(minutes=5)
#: So long for one of which nothing is known: its node may be pulling an image of many gigabytes.
PATIENCE_WITHOUT_A_CAUSE = timedelta(hours=1)
#: So long a run then stands out of the line, twice as long each time.
FIRST_BACK_OFF, LAST_BACK_OFF = timedelta(minutes=5), timedelta(hours=1)
_CAUSES = (
    "PodRefused",
    "VolumeNotFound",
    "VolumeNotMounted",
    "SecretNotFound",
    "ImagePullFailed",
    "Unschedulable",
    "WaitingForQuota",
)


def limit_patience(situation: Situation, course: NextStep) -> NextStep:
    """Return the course of a run that has a partition, or the one that gives it back where that has lasted too long."""
    if situation.lease is None or _runs(situation):
        return course
    patience = PATIENCE if course.phase.reason in _CAUSES else PATIENCE_WITHOUT_A_CAUSE
    left = _held_in_vain_since(situation) + patience - situation.now
    if left <= timedelta():
        return _given_back(situation, course.phase)
    seconds = min(left.total_seconds(), course.requeue_seconds or left.total_seconds())
    return replace(course, requeue_seconds=seconds)


def stay_out_of_queue(situation: Situation) -> NextStep | None:
    """Return the course of a run that gave its partition back not long ago; None for any other."""
    back_off = situation.previous.partition_back_off
    told = conditions.condition_of(situation.previous.conditions, "Succeeded")
    if back_off is None or back_off.until is None or told is None or _runs(situation):
        return None
    left = timestamps.parse(back_off.until) - situation.now
    if left <= timedelta():
        return None
    phase = Phase("Pending", told.reason, told.message)
    return NextStep(phase, _withdrawn(situation), left.total_seconds(), back_off=back_off)


def back_off_to_write(situation: Situation, course: NextStep) -> PartitionBackOff | None:
    """Return what the status remembers: how often, until a pod runs, and until when, as long as that is to come."""
    known = situation.previous.partition_back_off
    if course.back_off or known is None:
        return course.back_off
    return None if _runs(situation) else PartitionBackOff(times=known.times)


def partition_back_off(times: int) -> timedelta:
    """Return how long a run stands out of the line that gave its partition back so many times."""
    return doubled(FIRST_BACK_OFF, times, LAST_BACK_OFF)


def _runs(situation: Situation) -> bool:
    pod = situation.at_work
    return pod is not None and (pod.running or pod.exit_code is not None)


def _held_in_vain_since(situation: Situation) -> datetime:
    """Return since when no pod has run on the partition: it was taken, its Job was made, or an attempt ended then."""
    lease, workload = situation.lease, situation.workload
    ends = (pod.finished_at for pod in situation.pods if pod.started_at)
    moments = (lease.acquired if lease else None, workload.created if workload else None, *ends)
    return max(moment for moment in moments if moment)


def _given_back(situation: Situation, phase: Phase) -> NextStep:
    known = situation.previous.partition_back_off
    times = known.times + 1 if known else 1
    wait = partition_back_off(times)
    until = timestamps.render(situation.now + wait)
    # In front: the words of the cluster may be too long for a message.
    message = f"its partition is given back, and it stands in line again at {until}: {phase.message}"
    back_off = PartitionBackOff(times=times, until=until)
    told = Phase("Pending", phase.reason, message)
    return NextStep(told, _withdrawn(situation), wait.total_seconds(), back_off=back_off)


def _withdrawn(situation: Situation) -> tuple[Action, ...]:
    """Return what ends the workload, or, once nothing is left of it, gives the partition back."""
    workload = situation.workload
    if workload is None:
        return situation.giving_back
    return (delete_workload(workload, "no pod of it gets to run on its partition"),)
