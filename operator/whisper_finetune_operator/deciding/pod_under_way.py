"""What to do about a run with a pod at work, or on its way to work, whatever made it. Pure."""

import math
from dataclasses import replace

from whisper_finetune_operator.deciding import companions, pod_phases
from whisper_finetune_operator.deciding.actions import DeleteWorkload
from whisper_finetune_operator.deciding.course import Course
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import NOT_STARTED
from whisper_finetune_operator.workloads import waiting
from whisper_finetune_operator.workloads.pods import Pod


def find(situation: Situation, pod: Pod) -> Course:
    """Return its phase, when its deadline is over, and what ends a pod that outlasts its trainer."""
    if pod.over:
        return _after_its_trainer(situation, pod)
    if not pod.running:
        lacking = waiting.find(pod.waiting) if pod.waiting else None
        return Course(lacking or pod_phases.of_pod(situation, NOT_STARTED.reason, NOT_STARTED.message))
    limit = situation.spec.active_deadline_seconds
    left = None if limit is None else max(1.0, limit - situation.running_time.total_seconds())
    return Course(pod_phases.running(situation, pod), recheck_seconds=left)


def _after_its_trainer(situation: Situation, pod: Pod) -> Course:
    phase = pod_phases.retrying(situation) or pod_phases.running(situation, pod)
    left, live = companions.seconds_left((pod,), situation.now), situation.workload
    if left > 0 or live is None:
        return Course(phase, recheck_seconds=left if left < math.inf else None)
    message = f"{phase.message}; its pod is being ended, in which other containers run on: {', '.join(pod.companions)}"
    delete = DeleteWorkload(live.kind, live.name, live.uid, "its trainer has ended, and another container runs on")
    return Course(replace(phase, message=message), (delete,))
