"""What to do about a run with a pod at work or about to start, and when that is in doubt. Pure.

Others add containers to a trainer's pod. A mesh's proxy or a secrets agent may never end by itself, and would keep the
pod, its card and its partition for ever. A native sidecar does not: the kubelet ends it.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from whisper_finetune_api.v1alpha1 import Progress, WhisperFineTuneStatus
from whisper_finetune_api.v1alpha1.status import State
from whisper_finetune_operator.deciding import outcomes
from whisper_finetune_operator.deciding.situation import Situation
from whisper_finetune_operator.kubernetes_objects import parse_time, render_time
from whisper_finetune_operator.next_steps import (
    NOT_STARTED,
    RUNNING_STATES,
    SUSPENDING,
    NextStep,
    Phase,
    PhaseReason,
    ReadObstacle,
    condition_message,
    condition_of,
    delete_workload,
    retry_seconds,
)
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.workloads.pods import Pod, Waiting
from whisper_finetune_operator.world import Refusal, without_numbers


def running_phase(situation: Situation, pod: Pod) -> Phase:
    state = _state(situation)
    told = f", which was told to end by {render_time(pod.ends_by)} and saves a checkpoint" if pod.ends_by else ""
    return Phase(state, state, f"pod {pod.name}{told}")


def stopping_phase(situation: Situation, why: str) -> Phase:
    """Return the phase of a run whose Job or spec was suspended. Only a trainer that runs has anything to save."""
    pod = situation.at_work
    doing = "saving a checkpoint and ending" if pod and pod.running else "ending"
    return pod_phase(situation, SUSPENDING, f"{why}its pod is {doing}")


def pod_phase(situation: Situation, reason: PhaseReason, message: str) -> Phase:
    return Phase(_state(situation), reason, message)


def _state(situation: Situation) -> State:
    """Return the state that the pod at work is in, by its trainer's newest report."""
    pod, before = situation.at_work, situation.previous.state
    if pod is None or not pod.running:
        return "Pending"
    if situation.report and situation.report.stage:
        return situation.report.stage
    # The operator may just have started, so a missing report means nothing.
    same = pod.name == situation.previous.pod_name and before in RUNNING_STATES
    return before if before and same else "Preparing"


#: Events are read of a pod that has a node and has not begun after this time.
_BEGUN_AFTER = timedelta(seconds=30)


def next_step_of_pod(situation: Situation, pod: Pod) -> NextStep:
    """Return the step of a run with a pod at work. A pod that outlasts its trainer is ended."""
    if pod.over:
        return _after_its_trainer(situation, pod)
    if not pod.running:
        return _on_its_way(situation, pod)
    limit = situation.spec.active_deadline_seconds
    left = None if limit is None else max(1.0, limit - situation.running_time.total_seconds())
    return NextStep(running_phase(situation, pod), requeue_seconds=left)


#: A pod is told together with its trainer's start, where that comes within this time.
_TOLD_AFTER = timedelta(seconds=5)


def seconds_until_told(situation: Situation, derived: WhisperFineTuneStatus) -> float:
    """Return for how long a status that tells of a new pod and of nothing else is not written. 0: it is written now.

    A pod that no controller replaces is told at once: that it was there is all that would be known of it, were it lost.
    """
    pod, workload, previous = situation.at_work, situation.workload, situation.previous
    if pod is None or pod.running or workload is None or not workload.kind.is_retried_by_its_controller:
        return 0.0
    age = situation.now - pod.created
    told = derived.model_copy(update={"pod_name": previous.pod_name, "attempts": previous.attempts})
    says_more = told != previous or situation.counts.added
    # A clock may be wrong.
    return 0.0 if says_more or not timedelta() <= age < _TOLD_AFTER else (_TOLD_AFTER - age).total_seconds()


def _on_its_way(situation: Situation, pod: Pod) -> NextStep:
    """Return the step of a pod that has not begun, by its own status, else by Events.

    These are read ever more seldom.
    """
    lacking = _unless_numbers_changed(situation, waiting_phase(pod.waiting)) if pod.waiting else None
    if lacking or pod.node is None or pod.set_up:
        # An Event stays an hour longer than what it tells of. A volume that was mounted at the second try is no
        # obstacle.
        return NextStep(lacking or pod_phase(situation, NOT_STARTED.reason, NOT_STARTED.message))
    phase = obstructed_phase(situation.obstacle) if situation.obstacle else NOT_STARTED
    still_early = _BEGUN_AFTER - (situation.now - pod.created)
    if still_early > timedelta():
        return NextStep(phase, requeue_seconds=still_early.total_seconds())
    again_seconds = retry_seconds(situation.now - pod.created, situation.run.uid)
    return NextStep(phase, (ReadObstacle(pod.uid),), again_seconds)


def _unless_numbers_changed(situation: Situation, found: Phase | None) -> Phase | None:
    """Return the phase, in its earlier words where only numbers differ: the scheduler counts nodes anew each time."""
    told = condition_of(situation.previous.conditions, "Succeeded")
    if found is None or told is None or told.reason != found.reason:
        return found
    same = without_numbers(told.message) == without_numbers(condition_message(found.message))
    return replace(found, message=told.message) if same else found


def _after_its_trainer(situation: Situation, pod: Pod) -> NextStep:
    phase = outcomes.retry_phase(situation) or running_phase(situation, pod)
    left, live = sidecar_seconds_left((pod,), situation.now), situation.workload
    if left > 0 or live is None:
        return NextStep(phase, requeue_seconds=left if left < math.inf else None)
    message = f"{phase.message}; its pod is being ended, in which other containers run on: {', '.join(pod.sidecars)}"
    delete = delete_workload(live, "its trainer has ended, and another container runs on")
    return NextStep(replace(phase, message=message), (delete,))


#: How long a container that ships logs has for the last of them.
_PATIENCE = timedelta(seconds=30)


def sidecar_seconds_left(pods: Iterable[Pod], now: datetime) -> float:
    """Return for how long pods that have not ended are left to end by themselves.

    That is 0 where a trainer is at work, and infinity where no container but a trainer that has ended is in them.
    """
    return min((_left(pod, now) for pod in pods), default=0.0)


def _left(pod: Pod, now: datetime) -> float:
    if not pod.over:
        return 0.0
    if not pod.sidecars:
        return math.inf
    # A node that has lost a container does not know when it ended.
    since = pod.finished_at or pod.created
    # The node's clock may be ahead of this one.
    return max(0.0, min(since + _PATIENCE - now, _PATIENCE).total_seconds())


#: A kubelet kills what outlasts its grace period, and may take so long to say so.
_LATE = timedelta(seconds=60)
#: After this time a trainer that is asked every few seconds is called silent.
_SILENT = timedelta(minutes=3)
_NOT_HEARD = (
    "pod {pod} runs, and has not told its progress since {since}: a NetworkPolicy or a mesh may keep the operator from "
    "its port; its result comes all the same"
)
_STANDS_STILL = (
    "step {step} of {total} since {since}; that ends nothing: look at the log with kubectl -n {namespace} logs "
    "{pod}, and suspend and resume the run to go on from the newest checkpoint"
)
_WHAT_TO_DO = (
    "it may still run there, so nothing else of this run is started; if the node is gone for good, delete the Node, or "
    "taint it with node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
)


def tell_doubts(situation: Situation, step: NextStep, runtimes: Runtimes) -> NextStep:
    """Return the step with what makes it doubtful that the run is where its pod says, and requeued in time.

    Its node or trainer is silent, or its training has not taken a step for longer than its runtime allows.
    """
    pod = next((pod for pod in situation.busy if _is_lost(pod, situation.now)), None)
    if pod:
        return replace(step, phase=Phase("Unknown", "NodeUnreachable", _of_node(pod)))
    ends = [pod.ends_by + _LATE - situation.now for pod in situation.busy if pod.ends_by]
    step = step.requeued_within(min(ends).total_seconds()) if ends else step
    pod, phase = situation.at_work, step.phase
    if pod is None or phase.state not in RUNNING_STATES or phase.reason != phase.state:
        return step
    left_seconds = _seconds_until_silent(situation)
    step = step if left_seconds is None else step.requeued_within(left_seconds)
    return _silent(situation, step, pod) or _stalled(situation, step, pod, runtimes) or step


def _is_lost(pod: Pod, now: datetime) -> bool:
    is_late = pod.ends_by is not None and now >= pod.ends_by + _LATE
    return is_late or pod.silent_since is not None


def _of_node(pod: Pod) -> str:
    node = f"node {pod.node}" if pod.node else "its node"
    if pod.silent_since:
        what = f"{node} of pod {pod.name} does not answer since {render_time(pod.silent_since)}"
    else:
        by = render_time(pod.ends_by) if pod.ends_by else "now"
        what = f"pod {pod.name} was to end by {by} and has not, so {node} does not seem to answer"
    return f"{what}: {_WHAT_TO_DO}"


def _seconds_until_silent(situation: Situation) -> float | None:
    """Return after how many seconds a trainer that does not answer is called silent.

    None: it answers, or is called silent already.
    """
    left = situation.silence.since + _SILENT - situation.now if situation.silence else timedelta()
    return left.total_seconds() if left > timedelta() else None


def _silent(situation: Situation, step: NextStep, pod: Pod) -> NextStep | None:
    """Return the step of a run whose trainer does not answer. Only that it runs is known, and not what it does."""
    silence, before = situation.silence, condition_of(situation.previous.conditions, "Succeeded")
    if silence and _seconds_until_silent(situation) is None:
        message = _NOT_HEARD.format(pod=pod.name, since=render_time(silence.since))
        return replace(step, phase=Phase("Running", "Running", message))
    # An operator that has just started has not asked for long, so what the one before it told still holds.
    still = situation.report is None and step.phase.state == "Running"
    return replace(step, phase=Phase("Running", "Running", before.message)) if still and before else None


def _stalled(situation: Situation, step: NextStep, pod: Pod, runtimes: Runtimes) -> NextStep | None:
    """Return the step of a run that has taken no training step for too long, None for any other run.

    A trainer that loads, compiles, evaluates or has just begun has no steps to tell, and is not stalled.
    """
    stall_seconds = _stall_seconds(situation, runtimes) if step.phase.state == "Training" else None
    if stall_seconds is None:
        return None
    reported = situation.report.progress if situation.report else None
    before = condition_of(situation.previous.conditions, "Succeeded")
    if situation.report is None and before and before.reason == "NoProgress":
        return replace(step, phase=Phase("Training", "NoProgress", before.message))
    if reported is None or reported.loss is None or reported.clips_to_evaluate:
        return None
    since = _no_step_since(situation, reported, pod) or situation.now
    left = since + timedelta(seconds=stall_seconds) - situation.now
    if left > timedelta():
        return step.requeued_within(left.total_seconds())
    message = _STANDS_STILL.format(
        step=reported.step,
        total=reported.total_steps,
        since=render_time(since),
        namespace=situation.run.namespace,
        pod=pod.name,
    )
    return replace(step, phase=Phase("Training", "NoProgress", message))


def _stall_seconds(situation: Situation, runtimes: Runtimes) -> int | None:
    runtime = runtimes.named(situation.previous.runtime) if situation.previous.runtime else None
    return runtime.stall_seconds if runtime else None


def _no_step_since(situation: Situation, reported: Progress, pod: Pod) -> datetime | None:
    """Return since when no step was taken, by what this operator heard, or by what the one before it wrote."""
    known, same_pod = situation.previous.progress, pod.name == situation.previous.pod_name
    if situation.report_changed_at or known is None or known.update_time is None:
        return situation.report_changed_at
    # What was written in an evaluation tells nothing of the steps after it.
    was_training = situation.previous.state != "Evaluating" and not known.clips_to_evaluate
    same = same_pod and was_training and (known.step, known.loss) == (reported.step, reported.loss)
    return parse_time(known.update_time) if same else None


_IMAGE_REASONS = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
#: The kubelet reports the same failure with and without these words, in turn.
_BACK_OFF = re.compile(r"^Back-off pulling image \S+?(: ErrImagePull)?(: |$)")


def waiting_phase(waiting: Waiting) -> Phase | None:
    """Return the phase of a pod that waits for something that is missing, or None where it is only about to start."""
    if waiting.reason in _IMAGE_REASONS:
        whose = f"the image of init container {waiting.container}" if waiting.container else "the runtime's image"
        return Phase.waiting("ImagePullFailed", f"correct {whose} or its pull secret: {_image_fault(waiting)}")
    if waiting.container:
        message = f"the trainer waits for init container {waiting.container}: {waiting.reason} {waiting.message}"
        return Phase("Pending", "Pending", message.rstrip())
    if waiting.reason in _CONFIG_REASONS:
        return _config_fault(waiting.message)
    if waiting.reason == "Unschedulable":
        return _scheduling_fault(waiting.message)
    return None


def obstructed_phase(obstacle: Refusal) -> Phase:
    """Return the phase of a run whose pod cannot be begun by its node."""
    if "volume" in obstacle.message.lower():
        return Phase.waiting("VolumeNotMounted", f"a volume cannot be attached or mounted: {obstacle.message}")
    return Phase("Pending", "Pending", f"{NOT_STARTED.message}: {obstacle.message}")


def _image_fault(waiting: Waiting) -> str:
    return _BACK_OFF.sub("", waiting.message) or waiting.message or waiting.reason


def _config_fault(message: str) -> Phase:
    if "secret" in message.lower():
        return Phase.waiting("SecretNotFound", f"create the Secret, or add the key to it: {message}")
    return Phase.waiting("PodRefused", f"the node cannot make the trainer's container: {message}")


def _scheduling_fault(message: str) -> Phase:
    if claim := re.search(r'persistentvolumeclaim "([^"]+)" not found', message):
        text = f"create the PersistentVolumeClaim {claim[1]} in the run's namespace, or name another in the spec"
        return Phase.waiting("VolumeNotFound", text)
    return Phase.waiting("Unschedulable", f"no node can take the pod: {message}")
