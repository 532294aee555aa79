"""What makes it doubtful that a run is where its pod says: its node does not answer. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from whisper_finetune_operator import timestamps
from whisper_finetune_operator.deciding.course import Course
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import Phase
from whisper_finetune_operator.workloads.pods import Pod

#: A kubelet kills what outlasts its grace, and may need so long to say so.
_LATE = timedelta(seconds=60)
_WHAT_TO_DO = (
    "it may still run there, so nothing else of this run is started; if the node is gone for good, delete the Node, or "
    "taint it with node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
)


def told(situation: Situation, course: Course) -> Course:
    """Return the course with what is doubtful about its phase, looked at again when that may become doubtful."""
    pod = next((pod for pod in situation.busy if _is_lost(pod, situation.now)), None)
    if pod:
        return replace(course, phase=Phase("Unknown", "NodeUnreachable", _of_node(pod)))
    ends = [pod.ends_by + _LATE - situation.now for pod in situation.busy if pod.ends_by]
    return course.rechecked(min(ends).total_seconds() if ends else None)


def _is_lost(pod: Pod, now: datetime) -> bool:
    is_late = pod.ends_by is not None and now >= pod.ends_by + _LATE
    return is_late or pod.silent_since is not None


def _of_node(pod: Pod) -> str:
    node = pod.node or "of its own"
    if pod.silent_since:
        what = f"node {node} of pod {pod.name} does not answer since {timestamps.render(pod.silent_since)}"
    else:
        by = timestamps.render(pod.ends_by) if pod.ends_by else "now"
        what = f"pod {pod.name} was to end by {by} and has not, so its node {node} does not seem to answer"
    return f"{what}: {_WHAT_TO_DO}"
