"""What a run that is over still needs: that its workload is over too, goes in time, and keeps no partition. Pure."""

import math
from datetime import datetime, timedelta

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator import timestamps
from whisper_finetune_operator.deciding import companions, conditions, outcomes, under_way
from whisper_finetune_operator.deciding.actions import Action, KeepFor, delete_workload
from whisper_finetune_operator.deciding.situation import Facts
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.workloads.workload_kind import Workload

Tidying = tuple[tuple[Action, ...], float | None]


def tidy(facts: Facts, derived: WhisperFineTuneStatus) -> Tidying:
    """Return the actions, and after how many seconds to look again."""
    workload = facts.workload
    if workload is None:
        return facts.giving_back, None
    if workload.end is None:
        return _until_it_ends(workload, facts.busy, derived, facts.now)
    actions, requeue_seconds = _goes_in_time(facts, workload, derived)
    return (*actions, *facts.giving_back), requeue_seconds


def _until_it_ends(workload: Workload, busy: tuple[Pod, ...], derived: WhisperFineTuneStatus, now: datetime) -> Tidying:
    """Return what ends it where it does not end by itself, or would have another pod."""
    left = companions.sidecar_seconds_left(busy, now)
    if left > 0:
        return (), left if left < math.inf else None
    return under_way.stop_workload(workload) if busy or not _ends_by_itself(workload, derived) else (), None


def _goes_in_time(facts: Facts, workload: Workload, derived: WhisperFineTuneStatus) -> Tidying:
    """Return what makes it go when the user says so: some kinds go by their own TTL."""
    seconds = facts.spec.ttl_seconds_after_finished
    if workload.kind.goes_by_its_own_ttl:
        kept = seconds == workload.ttl_seconds_after_finished
        return () if kept else (KeepFor(workload.kind.name, workload.name, workload.uid, seconds),), None
    if seconds is None or derived.completion_time is None:
        return (), None
    left = timestamps.parse_time(derived.completion_time) + timedelta(seconds=seconds) - facts.now
    if left > timedelta():
        return (), left.total_seconds()
    return (delete_workload(workload, "ttlSecondsAfterFinished"),), None


def _ends_by_itself(workload: Workload, derived: WhisperFineTuneStatus) -> bool:
    succeeded = conditions.condition_of(derived.conditions, "Succeeded")
    failed = derived.attempts.failed if derived.attempts else 0
    return succeeded is not None and outcomes.ends_workload(workload, succeeded.reason, failed)
