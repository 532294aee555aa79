"""Read a pod of a run and what its trainer says: raw object in, the few facts that decisions need out. Pure.

Nothing of a trainer is believed that is malformed, not finite, another run's, or outside the run's folder.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from whisper_finetune_api import reading
from whisper_finetune_api.contract import CONTRACT
from whisper_finetune_api.reading import Reading
from whisper_finetune_api.run import TrainerReport, TrainingResult
from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, controller_of, parse_time

TRAINER_CONTAINER = "trainer"
#: The kubelet's reason of a container that waits for init containers.
_AFTER_INIT = "PodInitializing"
#: Where these are malformed they must not count as absent: that would be everybody's report, or a good ending.
_ESSENTIAL = ("contract", "uid", "reason")


@dataclass(frozen=True)
class LastWords:
    """What a trainer wrote to its termination log."""

    #: What it said at its end, good or bad. None where it said nothing that can be read.
    ending: TrainingResult | None = None
    #: Whether only a newer operator can read them.
    is_of_a_later_contract: bool = False
    #: What is not understood of them, in one line. Empty where all is.
    remark: str = ""

    @property
    def result(self) -> TrainingResult | None:
        """The report of a trainer that ended well, with error rates and a model. None where it cannot be read."""
        ending = self.ending
        return ending if ending and ending.reason is None and ending.result and ending.model else None


@dataclass(frozen=True)
class Waiting:
    """What keeps a pod from starting, in the words of the kubelet or the scheduler."""

    reason: str
    message: str
    #: Name of the init container that the trainer waits for, where somebody's webhook added one.
    container: str | None = None


@dataclass(frozen=True)
class Pod:
    """One attempt: where it stands, and how its trainer ended."""

    name: str
    uid: str
    created: datetime
    #: Name, kind and UID of the controller that made it. None where nobody owns it, or nobody any more.
    owner_name: str | None
    owner_kind: str | None
    owner_uid: str | None
    phase: str
    #: The node that it runs on. None before it has one.
    node: str | None
    #: Whether somebody asked for its end. Its trainer is saving a checkpoint, or was killed.
    deleted: bool
    #: When it is to be gone, once somebody asked for its end.
    ends_by: datetime | None
    #: Since when the cluster, and not its kubelet, says that it is not ready, because its node does not answer.
    silent_since: datetime | None
    #: When the cluster last knew that it ran, where the cluster has given it up.
    last_known_at: datetime | None
    #: Whether the trainer's container runs at this moment.
    running: bool
    waiting: Waiting | None
    #: Whether its node has mounted its volumes and made its network.
    set_up: bool
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int | None
    #: Names of the containers beside the trainer's that have not ended.
    sidecars: tuple[str, ...]
    killed_for_memory: bool
    #: Whether it was drained, preempted or evicted, which is not the trainer's doing.
    disrupted: bool
    last_words: LastWords
    #: What the cluster says about the pod's end, such as `Evicted: The node was low on resource: memory.`
    remark: str

    @property
    def ended(self) -> bool:
        """Whether its containers are gone for good."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def over(self) -> bool:
        """Whether the attempt is over: its trainer has ended, though other containers of the pod may run on."""
        return self.ended or self.exit_code is not None

    @property
    def seconds(self) -> int:
        """How long its trainer ran, once it has ended."""
        if self.started_at is None or self.finished_at is None:
            return 0
        return max(0, round((self.finished_at - self.started_at).total_seconds()))


def read_pod(pod: KubernetesObject) -> Pod:
    """Return the facts of a raw pod."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    owner = controller_of(pod)
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    states = _container_states(status)
    state = states.pop(TRAINER_CONTAINER, {})
    terminated = state.get("terminated") or {}
    began = state.get("running") or terminated
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        created=parse_time(metadata["creationTimestamp"]),
        owner_name=owner.get("name"),
        owner_kind=owner.get("kind"),
        owner_uid=owner.get("uid"),
        phase=status.get("phase", "Pending"),
        node=(pod.get("spec") or {}).get("nodeName"),
        deleted="deletionTimestamp" in metadata,
        ends_by=_time(metadata.get("deletionTimestamp")),
        silent_since=_silent_since(conditions) if "running" in state else None,
        last_known_at=_last_known_at(conditions) or _time(metadata.get("deletionTimestamp")),
        running="running" in state,
        waiting=_init_waiting(state, status) or _waiting(state, conditions),
        set_up=conditions.get("PodReadyToStartContainers", {}).get("status") == "True",
        started_at=_time(began.get("startedAt")),
        finished_at=_time(terminated.get("finishedAt")),
        exit_code=terminated.get("exitCode"),
        sidecars=tuple(name for name, other in states.items() if "terminated" not in other),
        killed_for_memory=terminated.get("reason") == "OOMKilled",
        disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        last_words=_last_words(terminated.get("message", ""), metadata),
        remark=_remark(status, conditions),
    )


def _last_words(message: str, metadata: KubernetesObject) -> LastWords:
    if not message:
        return LastWords()
    return read_last_words(message, (metadata.get("labels") or {}).get(UID_LABEL, ""))


def _container_states(status: KubernetesObject) -> dict[str, dict[str, Any]]:
    return {container["name"]: container.get("state") or {} for container in status.get("containerStatuses") or ()}


def _init_waiting(state: dict[str, Any], status: KubernetesObject) -> Waiting | None:
    """Return the init container that the trainer waits for.

    They run one after the other, and the last that began counts.
    """
    if (state.get("waiting") or {}).get("reason") != _AFTER_INIT:
        return None
    for container in reversed(status.get("initContainerStatuses") or ()):
        its_state: dict[str, dict[str, str]] = container.get("state") or {}
        if running := its_state.get("running"):
            return Waiting("it runs", f"since {running.get('startedAt', 'now')}", container["name"])
        waiting = its_state.get("waiting")
        if waiting and waiting.get("reason") != _AFTER_INIT:
            return Waiting(waiting.get("reason", ""), waiting.get("message", ""), container["name"])
    return None


def _waiting(state: dict[str, Any], conditions: dict[str, Any]) -> Waiting | None:
    if waiting := state.get("waiting"):
        return Waiting(waiting.get("reason", ""), waiting.get("message", ""))
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return Waiting(scheduled.get("reason", ""), scheduled.get("message", ""))
    return None


def _silent_since(conditions: dict[str, Any]) -> datetime | None:
    """Return since when the node controller says in the kubelet's place that the pod is not ready.

    The node controller says it of the pod alone. A kubelet says it of the containers too, or names a readiness gate.
    """
    ready, containers = conditions.get("Ready", {}), conditions.get("ContainersReady", {})
    by_kubelet = containers.get("status") == "False" or ready.get("reason") == "ReadinessGatesNotReady"
    if ready.get("status") != "False" or by_kubelet:
        return None
    return _time(ready.get("lastTransitionTime"))


def _last_known_at(conditions: dict[str, Any]) -> datetime | None:
    """Return when its node fell silent, else when the cluster gave the pod up."""
    told = ("Ready", "False"), ("DisruptionTarget", "True")
    found = (conditions[kind] for kind, status in told if conditions.get(kind, {}).get("status") == status)
    return next((_time(each["lastTransitionTime"]) for each in found if "lastTransitionTime" in each), None)


def _remark(status: KubernetesObject, conditions: dict[str, Any]) -> str:
    disruption = conditions.get("DisruptionTarget", {})
    reason = status.get("reason") or disruption.get("reason")
    message = status.get("message") or disruption.get("message")
    return ": ".join(text for text in (reason, message) if text) or _failed_init(status)


def _failed_init(status: KubernetesObject) -> str:
    """Return which init container failed, and the whole pod with it. Empty where none did."""
    for container in status.get("initContainerStatuses") or ():
        terminated = (container.get("state") or {}).get("terminated") or {}
        if terminated.get("exitCode"):
            return f"its init container {container['name']} ended with exit code {terminated['exitCode']}"
    return ""


def _time(text: str | None) -> datetime | None:
    moment = parse_time(text) if text else None
    # A container that could not be started has a start time in 1970.
    return moment if moment and moment.timestamp() > 0 else None


def read_last_words(termination_message: str, uid: str) -> LastWords:
    """Return what the trainer of a run of that UID said at its end, without what cannot be read."""
    try:
        found = reading.read_json_leniently(TrainingResult, termination_message, _ESSENTIAL)
    except ValueError:
        return LastWords()
    if found.model.uid not in (None, uid):
        return LastWords()
    is_understood = _is_understood(found.model)
    return LastWords(found.model if is_understood else None, not is_understood, found.remark())


def read_report(answer: bytes) -> Reading[TrainerReport]:
    """Return a trainer's report. Raises ValueError where it cannot be read, or is of a later contract."""
    found = reading.read_json_leniently(TrainerReport, answer, _ESSENTIAL)
    if not _is_understood(found.model):
        raise ValueError("the trainer is newer than this operator: upgrade the operator")
    if any(part.path == ("stage",) for part in found.left_out):
        # A stage that is left out would count as the first one.
        return replace(found, model=found.model.model_copy(update={"stage": None}))
    return found


def _is_understood(report: TrainerReport) -> bool:
    return report.contract is None or report.contract <= CONTRACT
