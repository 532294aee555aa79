"""What to do about a run with a pod at work, or on its way to work, whatever made it. Pure."""

import math
from dataclasses import replace
from datetime import timedelta

from whisper_finetune_operator.deciding import companions, conditions, pod_steps
from whisper_finetune_operator.deciding.actions import LookForObstacle, delete_workload
from whisper_finetune_operator.deciding.course import NextStep, retry_seconds
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import NOT_STARTED, Phase
from whisper_finetune_operator.workloads import waiting
from whisper_finetune_operator.workloads.pods import Pod
from whisper_finetune_operator.world import without_numbers

#: A pod that has a node and does not begin for so long is asked why.
_BEGUN_AFTER = timedelta(seconds=30)


def next_step_of_pod(situation: Situation, pod: Pod) -> NextStep:
    """Return its phase, when its deadline is over, and what ends a pod that outlasts its trainer."""
    if pod.over:
        return _after_its_trainer(situation, pod)
    if not pod.running:
        return _on_its_way(situation, pod)
    limit = situation.spec.active_deadline_seconds
    left = None if limit is None else max(1.0, limit - situation.running_time.total_seconds())
    return NextStep(pod_steps.running_phase(situation, pod), requeue_seconds=left)


def _on_its_way(situation: Situation, pod: Pod) -> NextStep:
    """Return what a pod waits for by its own status, else by Events, which are asked for ever more seldom."""
    lacking = _unless_numbers_changed(situation, waiting.waiting_phase(pod.waiting)) if pod.waiting else None
    if lacking or pod.node is None or pod.set_up:
        # An Event outlasts by an hour what it tells of: a volume that was mounted at the second try is no obstacle.
        return NextStep(lacking or pod_steps.pod_phase(situation, NOT_STARTED.reason, NOT_STARTED.message))
    phase = waiting.obstructed_phase(situation.obstacle) if situation.obstacle else NOT_STARTED
    still_early = _BEGUN_AFTER - (situation.now - pod.created)
    if still_early > timedelta():
        return NextStep(phase, requeue_seconds=still_early.total_seconds())
    again_seconds = retry_seconds(situation.now - pod.created, situation.run.uid)
    return NextStep(phase, (LookForObstacle(pod.uid),), again_seconds)


def _unless_numbers_changed(situation: Situation, found: Phase | None) -> Phase | None:
    """Return the phase in the words of before where they differ in numbers alone: the scheduler counts nodes anew."""
    told = conditions.condition_of(situation.previous.conditions, "Succeeded")
    if found is None or told is None or told.reason != found.reason:
        return found
    same = without_numbers(told.message) == without_numbers(conditions.one_line(found.message))
    return replace(found, message=told.message) if same else found


def _after_its_trainer(situation: Situation, pod: Pod) -> NextStep:
    phase = pod_steps.retry_phase(situation) or pod_steps.running_phase(situation, pod)
    left, live = companions.sidecar_seconds_left((pod,), situation.now), situation.workload
    if left > 0 or live is None:
        return NextStep(phase, requeue_seconds=left if left < math.inf else None)
    message = f"{phase.message}; its pod is being ended, in which other containers run on: {', '.join(pod.companions)}"
    delete = delete_workload(live, "its trainer has ended, and another container runs on")
    return NextStep(replace(phase, message=message), (delete,))
