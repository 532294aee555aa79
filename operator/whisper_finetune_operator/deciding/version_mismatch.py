"""What to do about a run whose trainer and operator do not understand each other: wait, and try again. Pure."""

from datetime import datetime, timedelta

from whisper_finetune_api.causes import EXIT_VERSIONS
from whisper_finetune_operator import phases
from whisper_finetune_operator.deciding.actions import delete_workload
from whisper_finetune_operator.deciding.course import NextStep
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.workloads import endings
from whisper_finetune_operator.workloads.endings import Meaning
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload

#: An image may be mended under its name, which nothing tells of; a trainer that refuses its configuration ends at once.
RETRY_AFTER = timedelta(minutes=10)


def await_other_version(situation: Situation, workload: Workload) -> NextStep | None:
    """Return the course of a run whose trainer ended by that; None for any other."""
    pod = _newest(situation, workload)
    if pod and endings.awaits_operator(pod):
        # The pod holds the only result, and stays with whatever other containers it has.
        return NextStep(mismatch_phase(pod), situation.giving_back)
    ended_at = _ended_at(situation, workload)
    if ended_at is None or not ended_by_mismatch(situation, workload):
        return None
    wait = ended_at + RETRY_AFTER - situation.now
    if wait > timedelta():
        return NextStep(mismatch_phase(pod), situation.giving_back, wait.total_seconds())
    delete = delete_workload(workload, "its image may be of another version by now")
    return NextStep(mismatch_phase(pod), (delete,))


def _ended_at(situation: Situation, workload: Workload) -> datetime | None:
    """Return when it was over, or when its trainer was, beside which others run on: without the wait, for nothing."""
    if workload.end:
        return workload.end.at
    pod = situation.at_work
    return pod.finished_at if pod and pod.over and pod.companions else None


def ended_by_mismatch(situation: Situation, workload: Workload) -> bool:
    """Return whether a workload that is over came to nothing but that, by its newest pod, else by its own words."""
    pod = _newest(situation, workload)
    if pod:
        return endings.meaning_of_end(pod, workload) is Meaning.MISMATCH
    return workload.end is not None and f"exit code {EXIT_VERSIONS} " in f"{workload.end.message} "


def mismatch_phase(pod: Pod | None) -> Phase:
    """Return what the run waits for."""
    if pod and endings.awaits_operator(pod):
        text = "its training is done, and its trainer is newer than this operator, which cannot read the result"
        return phases.waits("VersionMismatch", f"{text}: upgrade the operator")
    told = f": {endings.describe_end(pod)}" if pod else ""
    minutes = RETRY_AFTER // timedelta(minutes=1)
    text = f"the trainer's image and this operator are of versions that do not go together, tried every {minutes} min"
    return phases.waits("VersionMismatch", f"{text}{told}")


def _newest(situation: Situation, workload: Workload) -> Pod | None:
    own = (pod for pod in reversed(situation.pods) if pod.over and pod.owner_uid == workload.uid)
    return next(own, None)
