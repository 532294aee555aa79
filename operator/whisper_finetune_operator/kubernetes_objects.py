"""What every object of the Kubernetes API has: UID, key, labels, controller and times. Pure.

Times are RFC 3339 in UTC, to whole seconds or, in a MicroTime, to microseconds.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from whisper_finetune_api.v1alpha1 import NAME_LABEL, UID_LABEL

#: An object of the Kubernetes API as it came: camelCase keys, JSON values.
KubernetesObject = dict[str, Any]


def uid_of(child: Mapping[str, Any]) -> str:
    """Return the UID of the object itself."""
    uid: str = child["metadata"]["uid"]
    return uid


def object_key_of(child: Mapping[str, Any]) -> tuple[str, str]:
    """Return the object's namespace and name, which no other object of its kind has."""
    return child["metadata"]["namespace"], child["metadata"]["name"]


def labels_of(child: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the labels of the object, empty where it has none."""
    return child["metadata"].get("labels") or {}


def run_uid_of(child: Mapping[str, Any]) -> str:
    """Return the UID of the run that a Job or pod says it belongs to, empty where it names none."""
    return labels_of(child).get(UID_LABEL, "")


def run_name_of(child: Mapping[str, Any]) -> str:
    """Return the name of the run that a Job or pod says it belongs to, empty where it names none."""
    return labels_of(child).get(NAME_LABEL, "")


def controller_of(child: KubernetesObject) -> KubernetesObject:
    """Return the owner reference of the controller that made an object, empty where nobody owns it."""
    owners: list[KubernetesObject] = child["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), {})


def parse_time(text: str) -> datetime:
    """Return the moment that a timestamp of the API names. Raises ValueError where it names none."""
    return datetime.fromisoformat(text).astimezone(UTC)


def render_time(moment: datetime) -> str:
    """Return a moment as the API writes it, cut to whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def render_micro_time(moment: datetime) -> str:
    """Return a moment as Leases and Events have it, with its microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
