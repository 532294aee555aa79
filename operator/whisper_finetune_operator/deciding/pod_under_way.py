"""What to do about a run with a pod at work, or on its way to work, whatever made it. Pure."""

from whisper_finetune_operator.deciding import pod_phases
from whisper_finetune_operator.deciding.course import Course
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import NOT_STARTED
from whisper_finetune_operator.workloads import waiting
from whisper_finetune_operator.workloads.pods import Pod


def find(situation: Situation, pod: Pod) -> Course:
    """Return its phase, and when its deadline is over."""
    if pod.exit_code is not None:
        # No news: its end is counted when the whole pod is over, moments later.
        return Course(pod_phases.running(situation, pod))
    if not pod.running:
        lacking = waiting.find(pod.waiting) if pod.waiting else None
        return Course(lacking or pod_phases.of_pod(situation, NOT_STARTED.reason, NOT_STARTED.message))
    limit = situation.spec.active_deadline_seconds
    left = None if limit is None else max(1.0, limit - situation.running_time.total_seconds())
    return Course(pod_phases.running(situation, pod), recheck_seconds=left)
