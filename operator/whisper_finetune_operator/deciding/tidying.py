"""What a run that is over still needs: that its workload is over too, goes in time, and keeps no partition. Pure."""

import math
from datetime import datetime, timedelta

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator import timestamps
from whisper_finetune_operator.deciding import companions, conditions, finals, giving_back, under_way
from whisper_finetune_operator.deciding.actions import Action, DeleteWorkload, KeepFor
from whisper_finetune_operator.workloads import pods, workloads
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_facts import Workload
from whisper_finetune_operator.world import World

Tidying = tuple[tuple[Action, ...], float | None]


def find(world: World, derived: WhisperFineTuneStatus) -> Tidying:
    """Return the actions, and after how many seconds to look again."""
    shown = tuple(map(pods.read, world.pods))
    workload = workloads.read(world.workload, shown) if world.workload else None
    if workload is None or workload.deleted or workload.owner_uid != world.run.uid:
        return giving_back.where_idle(world), None
    if workload.end is None:
        return _until_it_ends(workload, tuple(pod for pod in shown if not pod.ended), derived, world.now)
    actions, recheck_seconds = _goes_in_time(world, workload, derived)
    return (*actions, *giving_back.where_idle(world)), recheck_seconds


def _until_it_ends(workload: Workload, busy: tuple[Pod, ...], derived: WhisperFineTuneStatus, now: datetime) -> Tidying:
    """Return what ends it where it does not end by itself, or would have another pod."""
    left = companions.seconds_left(busy, now)
    if left > 0:
        return (), left if left < math.inf else None
    return under_way.stop(workload) if busy or not _ends_by_itself(workload, derived) else (), None


def _goes_in_time(world: World, workload: Workload, derived: WhisperFineTuneStatus) -> Tidying:
    """Return what makes it go when the user says so: a Job goes by its own TTL, an IPUJob has none."""
    seconds = world.run.spec.get("ttlSecondsAfterFinished")
    if workload.kind == "Job":
        kept = seconds == workload.ttl_seconds_after_finished
        return () if kept else (KeepFor(workload.name, workload.uid, seconds),), None
    if seconds is None or derived.completion_time is None:
        return (), None
    left = timestamps.parse(derived.completion_time) + timedelta(seconds=seconds) - world.now
    if left > timedelta():
        return (), left.total_seconds()
    return (DeleteWorkload(workload.kind, workload.name, workload.uid, "ttlSecondsAfterFinished"),), None


def _ends_by_itself(workload: Workload, derived: WhisperFineTuneStatus) -> bool:
    succeeded = conditions.find(derived.conditions, "Succeeded")
    failed = derived.attempts.failed if derived.attempts else 0
    return succeeded is not None and finals.ends_job(workload, succeeded.reason, failed)
