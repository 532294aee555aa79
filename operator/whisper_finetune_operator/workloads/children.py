"""Runs and their Jobs and pods: whose they are, and what of them is worth keeping in memory."""

import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from whisper_finetune_api.run import CONFIG_ENV
from whisper_finetune_api.v1alpha1 import GROUP, NAME_LABEL, UID_LABEL
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.workloads.pods import TRAINER_CONTAINER
from whisper_finetune_operator.world import KubernetesObject, child_name, controller_of


class TrainerSettings(BaseModel):
    """What the operator reads of a pod's TrainerConfig: the rest may be of an older or newer operator."""

    uid: str = ""
    progress_port: int = Field(0, alias="progressPort", ge=0, le=65535)


def labels_of(child: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the labels of the object, which it may have none of."""
    return child["metadata"].get("labels") or {}


def run_uid_of(child: Mapping[str, Any]) -> str:
    """Return the UID of the run that a Job or pod says it belongs to; empty where it says none."""
    return labels_of(child).get(UID_LABEL, "")


def run_name_of(child: Mapping[str, Any]) -> str:
    """Return the name of the run that a Job or pod says it belongs to; empty where it says none."""
    return labels_of(child).get(NAME_LABEL, "")


def is_attempt_of(pod: KubernetesObject, run_name: str, run_uid: str) -> bool:
    """Return whether the pod, in the run's namespace, is one of the run's attempts.

    A label alone proves nothing: whoever may create a pod can write it. What proves it is the controller, the run's own
    child: the garbage collector removes a pod whose controller does not exist. A pod that lost its Job to a deletion
    with `--cascade=orphan` has no controller; it is the run's if its trainer was told to train that run.
    """
    owner = controller_of(pod)
    if run_uid_of(pod) != run_uid:
        return False
    if not owner:
        return trainer_settings_of(pod).uid == run_uid
    child = child_name(run_name, run_uid)
    by_name = owner.get("kind") in KINDS and owner.get("name") == child
    return by_name or pod["metadata"]["name"] in kinds.fixed_pod_names(child)


def trainer_environment_of(pod: KubernetesObject) -> Mapping[str, str]:
    """Return the plain variables of the trainer's container."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    trainers = [container for container in containers if container["name"] == TRAINER_CONTAINER]
    return {each["name"]: each.get("value", "") for trainer in trainers for each in trainer.get("env") or ()}


def trainer_settings_of(pod: KubernetesObject) -> TrainerSettings:
    """Return what the pod's trainer was told; all defaults where it was told nothing that can be read."""
    try:
        return TrainerSettings.model_validate_json(trainer_environment_of(pod).get(CONFIG_ENV, ""))
    except ValidationError:
        return TrainerSettings()


def uid_of(child: Mapping[str, Any]) -> str:
    """Return the UID of the object itself."""
    uid: str = child["metadata"]["uid"]
    return uid


def place_of(child: Mapping[str, Any]) -> tuple[str, str]:
    """Return namespace and name."""
    return child["metadata"]["namespace"], child["metadata"]["name"]


def interned(value: Any) -> Any:
    """Return a copy whose keys are shared with all other objects': they are the larger part of what is kept."""
    if isinstance(value, dict):
        return {sys.intern(key): interned(each) for key, each in value.items()}
    if isinstance(value, list):
        return [interned(each) for each in value]
    return value


def slim_run(run: Mapping[str, Any]) -> KubernetesObject:
    """Return the run without who changed which field when."""
    slim = {"metadata": _slim_metadata(run), "spec": run.get("spec") or {}, "status": run.get("status") or {}}
    kept: KubernetesObject = interned(slim)
    return kept


def slim_workload(kind: str, workload: Mapping[str, Any]) -> KubernetesObject:
    """Return the workload without what no decision reads: thousands of them stay in memory."""
    spec = {key: value for key, value in workload["spec"].items() if key not in ("template", "workers")}
    status = workload.get("status") or {}
    kept: KubernetesObject = interned(
        {"kind": kind, "metadata": _slim_metadata(workload), "spec": spec, "status": status}
    )
    return kept


def slim_pod(pod: Mapping[str, Any]) -> KubernetesObject:
    """Return the pod with its status, and of its spec its node and, while it may run, the trainer's configuration."""
    status, node = pod.get("status") or {}, pod["spec"].get("nodeName")
    containers = [] if has_ended(pod) else [_slim_container(container) for container in pod["spec"]["containers"]]
    spec = {"containers": containers, **({"nodeName": node} if node else {})}
    kept: KubernetesObject = interned({"metadata": _slim_metadata(pod), "spec": spec, "status": status})
    return kept


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Return whether the pod's containers are gone for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def maker_of(pod: KubernetesObject, kind: str) -> str | None:
    """Return the name of the workload of that kind that made the pod; None where it has ended, or another did."""
    owner = controller_of(pod)
    return None if has_ended(pod) or owner.get("kind") != kind else owner["name"]


def _slim_container(container: Mapping[str, Any]) -> KubernetesObject:
    configuration = [variable for variable in container.get("env") or () if variable["name"] == CONFIG_ENV]
    return {"name": container["name"], "env": configuration}


def _slim_metadata(child: Mapping[str, Any]) -> KubernetesObject:
    slim = {key: value for key, value in child["metadata"].items() if key not in ("managedFields", "annotations")}
    annotations = child["metadata"].get("annotations") or {}
    own = {key: value for key, value in annotations.items() if key.startswith(f"{GROUP}/")}
    return {**slim, "annotations": own} if own else slim
