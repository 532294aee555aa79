"""To which run Jobs and pods belong, and what their trainers were told. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from whisper_finetune_api.run import CONFIG_ENV
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, controller_of, run_uid_of
from whisper_finetune_operator.runs import child_name
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.workloads.pods import TRAINER_CONTAINER


class TrainerSettings(BaseModel):
    """What the operator reads of a pod's TrainerConfig. The rest may be an older or newer operator's."""

    uid: str = ""
    progress_port: int = Field(0, alias="progressPort", ge=0, le=65535)


def is_attempt_of(pod: KubernetesObject, run_name: str, run_uid: str) -> bool:
    """Return whether the pod, in the run's namespace, is one of the run's attempts.

    A label alone proves nothing, because whoever may create a pod can write it. The proof is that the pod's controller
    is the run's child: the garbage collector removes a pod whose controller does not exist. A pod that lost its Job to
    a deletion with `--cascade=orphan` has no controller. It is the run's if its trainer was told to train that run.
    """
    owner = controller_of(pod)
    if run_uid_of(pod) != run_uid:
        return False
    if not owner:
        return trainer_settings_of(pod).uid == run_uid
    child = child_name(run_name, run_uid)
    by_name = owner.get("kind") in KINDS and owner.get("name") == child
    return by_name or kinds.is_pod_name(pod["metadata"]["name"], child)


def trainer_environment_of(pod: KubernetesObject) -> Mapping[str, str]:
    """Return the plain variables of the trainer's container."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    trainers = [container for container in containers if container["name"] == TRAINER_CONTAINER]
    return {each["name"]: each.get("value", "") for trainer in trainers for each in trainer.get("env") or ()}


def trainer_settings_of(pod: KubernetesObject) -> TrainerSettings:
    """Return what the pod's trainer was told. Where nothing of that can be read, all are defaults."""
    try:
        return TrainerSettings.model_validate_json(trainer_environment_of(pod).get(CONFIG_ENV, ""))
    except ValidationError:
        return TrainerSettings()


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Return whether the pod's containers are gone for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def trainer_has_ended(pod: Mapping[str, Any]) -> bool:
    """Return whether the pod's trainer is gone for good, whatever other containers of the pod run on."""
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    states = (each.get("state") or {} for each in containers if each["name"] == TRAINER_CONTAINER)
    return has_ended(pod) or any("terminated" in state for state in states)


def maker_of(pod: KubernetesObject, kind: str) -> str | None:
    """Return the name of the workload of that kind that made the pod.

    None where the pod has ended or another made it.
    """
    owner = controller_of(pod)
    return None if has_ended(pod) or owner.get("kind") != kind else owner["name"]
