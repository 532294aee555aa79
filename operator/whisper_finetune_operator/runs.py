"""One WhisperFineTune object as the API server gave it, with the name of its workload and its output folder. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from whisper_finetune_api import addresses
from whisper_finetune_api.run import run_folder_name
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, parse_time

#: How the field managers of runs' statuses begin, in all installations.
STATUS_MANAGER = "whisperfinetune-operator"

#: The IPU operator refuses longer names.
CHILD_NAME_MAX_LENGTH = 36
_HASH_LENGTH = 8


def child_name(name: str, uid: str) -> str:
    """Return the name of the run's one child, a DNS label.

    A run that is made again under the same name has another UID, and so another child.
    """
    digest = hashlib.sha256(uid.encode()).hexdigest()[:_HASH_LENGTH]
    room = CHILD_NAME_MAX_LENGTH - _HASH_LENGTH - 1
    return f"{name.replace('.', '-')[:room].rstrip('-')}-{digest}"


@dataclass(frozen=True)
class Run:
    """One WhisperFineTune object. `spec` and `status` are as the API server gave them."""

    name: str
    namespace: str
    uid: str
    #: The name of the one workload that it has at a time.
    child_name: str
    generation: int
    resource_version: str
    deletion: bool
    labels: Mapping[str, str]
    created: datetime
    spec: KubernetesObject
    status: KubernetesObject
    #: The operators' field managers that the status has.
    status_managers: tuple[str, ...] = ()

    def written_folder(self, reported: str | None = None) -> str:
        """Return the address under which everything of the run lies.

        `reported` is the folder's name by the trainer. It counts where it is that of an earlier run of this name, whose
        result the trainer took over. A repository of the Hub is the run's folder itself.
        """
        output = self.spec["output"]["uri"].rstrip("/")
        address = addresses.parse_address(output)
        if address is None or address.scheme == "hf":
            return str(output)
        is_earlier = reported is not None and reported.rpartition("-")[0] == self.name
        return address.child(reported if reported and is_earlier else run_folder_name(self.name, self.uid))

    @classmethod
    def from_object(cls, run: Mapping[str, Any]) -> "Run":
        """Return the run that a stored object of the API describes. Raises KeyError for any other object."""
        metadata = run["metadata"]
        return cls(
            name=metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            child_name=child_name(metadata["name"], metadata["uid"]),
            generation=metadata["generation"],
            resource_version=metadata["resourceVersion"],
            deletion="deletionTimestamp" in metadata,
            labels=dict(metadata.get("labels") or {}),
            created=parse_time(metadata["creationTimestamp"]),
            spec=run.get("spec") or {},
            status=run.get("status") or {},
            status_managers=_status_managers(metadata),
        )


def _status_managers(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    entries = metadata.get("managedFields") or ()
    managers = {entry.get("manager", "") for entry in entries if entry.get("subresource") == "status"}
    return tuple(sorted(each for each in managers if f"{each}/".startswith(f"{STATUS_MANAGER}/")))
