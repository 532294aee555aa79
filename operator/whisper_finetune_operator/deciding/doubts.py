"""What makes it doubtful that a run is where its pod says: its node or trainer is silent, or stands still. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from whisper_finetune_api.v1alpha1 import Progress
from whisper_finetune_operator import timestamps
from whisper_finetune_operator.deciding import conditions
from whisper_finetune_operator.deciding.course import NextStep
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.phases import RUNNING_STATES, Phase
from whisper_finetune_operator.workloads.pods import Pod

#: A kubelet kills what outlasts its grace, and may need so long to say so.
_LATE = timedelta(seconds=60)
#: A trainer that is asked every few seconds has had its time to answer.
_SILENT = timedelta(minutes=3)
_NOT_HEARD = (
    "pod {pod} runs, and has not told its progress since {since}: a NetworkPolicy or a mesh may keep the operator from "
    "its port; its result comes all the same"
)
_STANDS_STILL = (
    "step {step} of {total} since {since}; nothing is ended by that: look at the log with kubectl -n {namespace} logs "
    "{pod}, and suspend and resume the run to go on from the newest checkpoint"
)
_WHAT_TO_DO = (
    "it may still run there, so nothing else of this run is started; if the node is gone for good, delete the Node, or "
    "taint it with node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
)


def tell_doubts(situation: Situation, course: NextStep, stall_seconds: int | None) -> NextStep:
    """Return the course with what is doubtful about its phase, looked at again when that may become doubtful.

    `stall_seconds` are those of the run's runtime: training that stands still for so long is told.
    """
    pod = next((pod for pod in situation.busy if _is_lost(pod, situation.now)), None)
    if pod:
        return replace(course, phase=Phase("Unknown", "NodeUnreachable", _of_node(pod)))
    ends = [pod.ends_by + _LATE - situation.now for pod in situation.busy if pod.ends_by]
    course = course.requeued_within(min(ends).total_seconds() if ends else None)
    pod, phase = situation.at_work, course.phase
    if pod is None or phase.state not in RUNNING_STATES or phase.reason != phase.state:
        return course
    course = course.requeued_within(_seconds_until_silent(situation))
    return _silent(situation, course, pod) or _stalled(situation, course, pod, stall_seconds) or course


def _is_lost(pod: Pod, now: datetime) -> bool:
    is_late = pod.ends_by is not None and now >= pod.ends_by + _LATE
    return is_late or pod.silent_since is not None


def _of_node(pod: Pod) -> str:
    node = f"node {pod.node}" if pod.node else "its node"
    if pod.silent_since:
        what = f"{node} of pod {pod.name} does not answer since {timestamps.render_time(pod.silent_since)}"
    else:
        by = timestamps.render_time(pod.ends_by) if pod.ends_by else "now"
        what = f"pod {pod.name} was to end by {by} and has not, so {node} does not seem to answer"
    return f"{what}: {_WHAT_TO_DO}"


def _seconds_until_silent(situation: Situation) -> float | None:
    """Return when a trainer is called silent that does not answer now; None for one that answers, or is called so."""
    left = situation.silence.since + _SILENT - situation.now if situation.silence else timedelta()
    return left.total_seconds() if left > timedelta() else None


def _silent(situation: Situation, course: NextStep, pod: Pod) -> NextStep | None:
    """Return the course of a run whose trainer does not answer: what it does is not known, only that it runs."""
    silence, before = situation.silence, conditions.condition_of(situation.previous.conditions, "Succeeded")
    if silence and _seconds_until_silent(situation) is None:
        message = _NOT_HEARD.format(pod=pod.name, since=timestamps.render_time(silence.since))
        return replace(course, phase=Phase("Running", "Running", message))
    # An operator that has just started has not asked for long: what the one before it told holds.
    still = situation.report is None and course.phase.state == "Running"
    return replace(course, phase=Phase("Running", "Running", before.message)) if still and before else None


def _stalled(situation: Situation, course: NextStep, pod: Pod, stall_seconds: int | None) -> NextStep | None:
    """Return the course of a run whose training steps stand still.

    What has no steps to tell is no such run: what loads, compiles, evaluates, or has just begun.
    """
    reported = situation.report.progress if situation.report else None
    if stall_seconds is None or course.phase.state != "Training":
        return None
    before = conditions.condition_of(situation.previous.conditions, "Succeeded")
    if situation.report is None and before and before.reason == "NoProgress":
        return replace(course, phase=Phase("Training", before.reason, before.message))
    if reported is None or reported.loss is None:
        return None
    since = _no_step_since(situation, reported, pod) or situation.now
    left = since + timedelta(seconds=stall_seconds) - situation.now
    if left > timedelta():
        return course.requeued_within(left.total_seconds())
    message = _STANDS_STILL.format(
        step=reported.step,
        total=reported.total_steps,
        since=timestamps.render_time(since),
        namespace=situation.run.namespace,
        pod=pod.name,
    )
    return replace(course, phase=Phase("Training", "NoProgress", message))


def _no_step_since(situation: Situation, reported: Progress, pod: Pod) -> datetime | None:
    """Return since when nothing changed, by what this operator heard, or by what the one before it wrote."""
    known, same_pod = situation.previous.progress, pod.name == situation.previous.pod_name
    if situation.report_changed_at or known is None or known.update_time is None:
        return situation.report_changed_at
    same = same_pod and (known.step, known.loss) == (reported.step, reported.loss)
    return timestamps.parse_time(known.update_time) if same else None
