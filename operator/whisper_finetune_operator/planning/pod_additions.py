"""What an admin adds to the trainer's pod: `podTemplate` of a runtime, laid under what the operator itself says. Pure.

The rules of the merge:

- Labels and annotations: the admin's, and the operator's over them. Names in the operator's groups are refused.
- Fields of the pod that the operator never sets: the admin's as they are.
- Volumes and the trainer's mounts: the operator's, then the admin's. No name and no folder may be of both.
- Everything else is refused in words, because it is the operator's or has a field of its own in the runtime.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from whisper_finetune_api.run import SCRATCH_FOLDER, TERMINATION_LOG, VOLUMES_FOLDER
from whisper_finetune_api.v1alpha1 import GROUP, MANAGED_BY_LABEL
from whisper_finetune_api.v1alpha1.api_model import ApiModel
from whisper_finetune_operator.planning.kubernetes_schema import (
    Affinity,
    DnsConfig,
    HostAlias,
    SpreadConstraint,
    Volume,
    VolumeMount,
    unknown_field,
)
from whisper_finetune_operator.workloads.pods import TRAINER_CONTAINER

#: Folders and names of the operator's own volumes: see pod_template.
_OWN_FOLDERS = (
    SCRATCH_FOLDER,
    VOLUMES_FOLDER,
    TERMINATION_LOG,
    "/tmp",  # noqa: S108 (the pod's own)
    "/dev/shm",  # noqa: S108 (the pod's own)
    "/caches",
    "/certificates",
)
_OWN_VOLUME = r"scratch|tmp|shared-memory|model-cache|ca-bundle|executable-cache|claim-[0-9]+"
_DOMAIN_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
_OWN_GROUPS = (GROUP, "batch.kubernetes.io", "kueue.x-k8s.io")
_OWN_NAMES = (MANAGED_BY_LABEL, "controller-uid", "job-name")
_KEY = r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"

_OWN_FIELD = "it is the operator's own"
_ONE_CONTAINER = "the trainer is the pod's one container; a cluster's webhooks may add others"
#: Why a field of a pod is not taken here.
_REFUSED_FIELDS = {
    "restartPolicy": _OWN_FIELD,
    "enableServiceLinks": _OWN_FIELD,
    "automountServiceAccountToken": "a trainer never gets a token of the API server",
    "activeDeadlineSeconds": "it is the run's to say: spec.activeDeadlineSeconds",
    "terminationGracePeriodSeconds": "it is the runtime's field graceSeconds",
    "securityContext": "it is the runtime's field security",
    "nodeSelector": "it is the runtime's field of that name",
    "tolerations": "it is the runtime's field of that name",
    "imagePullSecrets": "it is the runtime's field of that name",
    "hostNetwork": "it is the runtime's field of that name",
    "hostIPC": "it is the runtime's field of that name",
    "hostPID": "no trainer needs to see its node's processes",
    "nodeName": "it would go past the scheduler; use the runtime's field nodeSelector",
    "initContainers": _ONE_CONTAINER,
    "ephemeralContainers": _ONE_CONTAINER,
}
_REFUSED_CONTAINER_FIELDS = {
    **dict.fromkeys(("command", "args", "ports", "workingDir", "terminationMessagePath"), _OWN_FIELD),
    "envFrom": "the runtime's field env sets variables by name",
    "securityContext": "it is the runtime's field security",
    **dict.fromkeys(("image", "imagePullPolicy", "env", "resources"), "it is the runtime's field of that name"),
}

Name = Annotated[str, Field(pattern=_DOMAIN_NAME, max_length=253)]


def _refuse(given: Any, kind: type[ApiModel], refused: Mapping[str, str]) -> Any:
    """Raise ValueError with the reason of each field that is not taken."""
    if not isinstance(given, Mapping):
        return given
    taken = {field.alias or name for name, field in kind.model_fields.items()}
    unknown = (str(field) for field in given if field not in taken and field not in kind.model_fields)
    faults = [
        f"{name} cannot be set here: {refused[name]}" if name in refused else unknown_field(name, taken)
        for name in unknown
    ]
    if faults:
        raise ValueError("; ".join(faults))
    return given


def _require(rules: Mapping[str, bool]) -> None:
    """Raise ValueError with each rule that does not hold."""
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise ValueError("; ".join(broken))


def is_own_volume(name: str) -> bool:
    """Return whether the operator has a volume of that name, in one runtime or another."""
    return re.fullmatch(_OWN_VOLUME, name) is not None


def is_own_folder(path: str) -> bool:
    """Return whether a mount there would hide a folder of the operator's, or lie in it."""
    folder, own = PurePosixPath(path), map(PurePosixPath, _OWN_FOLDERS)
    return any(folder.is_relative_to(each) or each.is_relative_to(folder) for each in own)


class PodMetadata(ApiModel):
    """Labels and annotations that each trainer's pod carries."""

    labels: dict[str, str] = Field(default_factory=dict, description="Further labels of the pod.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations of the pod.")

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        own = [key for key in (*self.labels, *self.annotations) if _is_own(key)]
        wrong = [key for key in (*self.labels, *self.annotations) if not re.fullmatch(_KEY, key)]
        values = [value for value in self.labels.values() if not re.fullmatch(_LABEL_VALUE, value)]
        rules = {
            f"{', '.join(own)}: the operator, the Job's controller and Kueue write these": not own,
            f"{', '.join(wrong)}: not a name of a label or annotation": not wrong,
            f"{', '.join(values)}: not a label's value, which has at most 63 letters, digits, -, _ and .": not values,
        }
        _require(rules)
        return self


class TrainerAdditions(ApiModel):
    """The trainer's container."""

    name: str = Field(description=f"It must be {TRAINER_CONTAINER}.")
    volume_mounts: tuple[VolumeMount, ...] = Field((), description="Where the further volumes are mounted.")

    @model_validator(mode="before")
    @classmethod
    def _keep_to_mounts(cls, given: Any) -> Any:
        return _refuse(given, cls, _REFUSED_CONTAINER_FIELDS)

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        if self.name != TRAINER_CONTAINER:
            raise ValueError(f"a container is called {self.name}, and the only one is {TRAINER_CONTAINER}")
        folders = [PurePosixPath(mount["mountPath"]) for mount in self.volume_mounts]
        relative = [str(folder) for folder in folders if not folder.is_absolute() or ".." in folder.parts]
        clashing = [str(folder) for folder in folders if is_own_folder(str(folder))]
        twice = sorted({str(folder) for folder in folders if folders.count(folder) > 1})
        rules = {
            f"mountPath {', '.join(relative)} must begin with / and have no ..": not relative,
            f"mountPath {', '.join(clashing)} would hide a folder of the operator's ({', '.join(_OWN_FOLDERS)})": (
                not clashing
            ),
            f"two volumes are mounted at {', '.join(twice)}": not twice,
        }
        _require(rules)
        return self


class PodAdditions(ApiModel):
    """Fields of the pod that the operator has no opinion of."""

    runtime_class_name: Name | None = Field(None, description="RuntimeClass of the pods, such as nvidia.")
    priority_class_name: Name | None = Field(None, description="PriorityClass of the pods.")
    service_account_name: Name | None = Field(
        None,
        description="ServiceAccount in the namespace of each run, for a cloud's identity. The pod gets no token of the "
        "API server by it.",
    )
    scheduler_name: Name | None = Field(None, description="Scheduler of the pods.")
    affinity: Affinity | None = Field(None, description="As in a pod.")
    topology_spread_constraints: tuple[SpreadConstraint, ...] = Field((), description="As in a pod.")
    host_aliases: tuple[HostAlias, ...] = Field((), description="As in a pod.")
    dns_config: DnsConfig | None = Field(None, description="As in a pod.")
    volumes: tuple[Volume, ...] = Field((), description="Further volumes. A path of the host is a right on the node.")
    containers: tuple[TrainerAdditions, ...] = Field((), max_length=1, description="The trainer's container alone.")

    @model_validator(mode="before")
    @classmethod
    def _keep_to_additions(cls, given: Any) -> Any:
        return _refuse(given, cls, _REFUSED_FIELDS)

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        names = [volume["name"] for volume in self.volumes]
        own = list(filter(is_own_volume, names))
        twice = sorted({name for name in names if names.count(name) > 1})
        missing = sorted({mount["name"] for mount in self.mounts} - set(names))
        tokens = [volume["name"] for volume in self.volumes if None in audiences_of(volume)]
        rules = {
            f"volume {', '.join(own)}: the operator has volumes of these names": not own,
            f"two volumes are called {', '.join(twice)}": not twice,
            f"volume {', '.join(missing)} is mounted and not among volumes": not missing,
            f"volume {', '.join(tokens)}: a serviceAccountToken needs an audience, since a trainer never gets a token "
            "of the API server": not tokens,
        }
        _require(rules)
        return self

    @property
    def mounts(self) -> tuple[dict[str, Any], ...]:
        """Where the trainer's container has the further volumes."""
        return tuple(mount for container in self.containers for mount in container.volume_mounts)


class PodTemplate(ApiModel):
    """What the pod has besides, in the form of a PodTemplateSpec. Other fields are refused with the reason."""

    metadata: PodMetadata = PodMetadata()
    spec: PodAdditions = PodAdditions()

    @property
    def has_host_paths(self) -> bool:
        """Whether a volume is a path of the node."""
        return any("hostPath" in volume for volume in self.spec.volumes)


def lay_under(additions: PodTemplate, template: dict[str, Any]) -> dict[str, Any]:
    """Return the operator's pod template with the admin's additions under it."""
    metadata, spec = template["metadata"], template["spec"]
    labels = {**additions.metadata.labels, **metadata["labels"]}
    annotations = {**additions.metadata.annotations, **metadata.get("annotations", {})}
    (trainer,) = spec["containers"]
    mounts = [*trainer["volumeMounts"], *additions.spec.mounts]
    added = {field: value for field, value in additions.spec.to_json_object().items() if value}
    return {
        "metadata": {"labels": labels, **({"annotations": annotations} if annotations else {})},
        "spec": {
            **added,
            **spec,
            "containers": [{**trainer, "volumeMounts": mounts}],
            "volumes": [*spec["volumes"], *additions.spec.volumes],
        },
    }


def audiences_of(volume: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield whom each of the volume's tokens of the pod's ServiceAccount is for. None: the API server."""
    for source in (volume.get("projected") or {}).get("sources") or ():
        if token := source.get("serviceAccountToken"):
            yield token.get("audience") or None


def _is_own(key: str) -> bool:
    group = key.rpartition("/")[0]
    return key in _OWN_NAMES or any(group == own or group.endswith(f".{own}") for own in _OWN_GROUPS)
