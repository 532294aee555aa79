"""What a decision is made from: one run and all that the cluster shows of it, as plain frozen objects."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from whisper_finetune_api.run import TrainerReport
from whisper_finetune_operator import timestamps
from whisper_finetune_operator.partitions.partition_queue import EMPTY_QUEUE, PartitionQueue

#: An object of the Kubernetes API as it came: camelCase keys, JSON values.
KubernetesObject = dict[str, Any]

#: How the field managers of runs' statuses begin, whichever installation wrote them.
STATUS_MANAGER = "whisperfinetune-operator"

#: The IPU operator refuses longer names.
CHILD_NAME_MAX_LENGTH = 36
_HASH_LENGTH = 8


def controller_of(child: KubernetesObject) -> KubernetesObject:
    """Return the owner reference of the controller that made an object, empty where nobody owns it."""
    owners: list[KubernetesObject] = child["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), {})


def child_name(name: str, uid: str) -> str:
    """Return the DNS label of the run's one child: a run made again under its name has another UID and child."""
    digest = hashlib.sha256(uid.encode()).hexdigest()[:_HASH_LENGTH]
    room = CHILD_NAME_MAX_LENGTH - _HASH_LENGTH - 1
    return f"{name.replace('.', '-')[:room].rstrip('-')}-{digest}"


@dataclass(frozen=True)
class Run:
    """One WhisperFineTune object; `spec` and `status` are as the API server gave them."""

    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    deletion: bool
    labels: Mapping[str, str]
    created: datetime
    spec: KubernetesObject
    status: KubernetesObject
    #: The field managers of operators that stand on the status.
    status_managers: tuple[str, ...] = ()

    @property
    def child_name(self) -> str:
        """The name of the one workload that it has at a time."""
        return child_name(self.name, self.uid)

    @classmethod
    def from_object(cls, run: Mapping[str, Any]) -> "Run":
        """Return the run that an object of the API describes; KeyError where it is no stored object."""
        metadata = run["metadata"]
        return cls(
            name=metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            resource_version=metadata["resourceVersion"],
            deletion="deletionTimestamp" in metadata,
            labels=dict(metadata.get("labels") or {}),
            created=timestamps.parse_time(metadata["creationTimestamp"]),
            spec=run.get("spec") or {},
            status=run.get("status") or {},
            status_managers=_status_managers(metadata),
        )


def _status_managers(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    entries = metadata.get("managedFields") or ()
    managers = {entry.get("manager", "") for entry in entries if entry.get("subresource") == "status"}
    return tuple(sorted(each for each in managers if f"{each}/".startswith(f"{STATUS_MANAGER}/")))


@dataclass(frozen=True)
class Refusal:
    """Why the Job could not be made, or its pod: the API server's own words, or the Job's newest FailedCreate event."""

    message: str
    seen_at: datetime
    #: When the same was refused first; None: it was now.
    since: datetime | None = None

    @property
    def refused_since(self) -> datetime:
        return self.since or self.seen_at

    def after(self, known: "Refusal | None") -> "Refusal":
        """Return this refusal in the words of the known one where both say the same but for numbers.

        A quota's message counts what is used at the moment: no news, and no write for each change of it.
        """
        if known is None or without_numbers(known.message) != without_numbers(self.message):
            return self
        return Refusal(known.message, self.seen_at, min(known.refused_since, self.refused_since))


def without_numbers(message: str) -> str:
    """Return the message as it is whatever it counts at the moment."""
    return re.sub(r"\d+", "#", message)


@dataclass(frozen=True)
class Silence:
    """A running trainer has been asked for its progress in vain: since when, and why the last time."""

    since: datetime
    problem: str


@dataclass(frozen=True)
class World:
    """What the cluster shows of one run at one moment."""

    run: Run
    #: The workload under the child's name (Run.child_name), the run's own or, where there is none, anybody's.
    workload: KubernetesObject | None
    #: The run's attempts (children.is_attempt_of), oldest first. A pod that ended and then went is best shown once
    #: more, as it was last seen: its end may not have been counted yet.
    pods: tuple[KubernetesObject, ...]
    #: Newest valid answer of the CURRENT pod's /progress.
    report: TrainerReport | None
    #: Of the Job in sight, read when a decision asks for it (actions.LookForRefusal); else of the workload itself.
    refusal: Refusal | None
    now: datetime
    #: Of the partitions that the run has. It is one at most, unless two leaders took one each.
    leases: tuple[KubernetesObject, ...] = ()
    #: Of all runs that wait for a partition, this one among them where it does.
    line: PartitionQueue = EMPTY_QUEUE
    #: Why the node of the CURRENT pod cannot begin it, read when a decision asks for it (actions.LookForObstacle).
    obstacle: Refusal | None = None
    #: When the report last said something else than before; None: it has said the same since it was first heard.
    report_changed_at: datetime | None = None
    #: Of the CURRENT pod; None: it answered the last time, or was not asked yet.
    silence: Silence | None = None
