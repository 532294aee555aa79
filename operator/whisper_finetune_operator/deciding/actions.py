"""What a decision may ask for. Each action names the UID of what it acts on: it cannot hit a successor."""

from dataclasses import dataclass

from whisper_finetune_operator.workloads.workload_kind import Workload
from whisper_finetune_operator.world import KubernetesObject


@dataclass(frozen=True)
class CreateWorkload:
    """Create it as it stands here; that its name is taken (409) is an answer: read who owns it, decide again."""

    manifest: KubernetesObject
    #: The run had a workload before: list its pods from the API server, not from a watch, and create only where
    #: none may still be running; a Job deleted by hand is gone before its pod is.
    look_first: bool
    #: Name of the Lease of its partition: written anew before, and where that fails nothing is created.
    lease: str | None = None
    #: For an Event when it is made.
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class StartWorkload:
    """Let a workload have its pod that was made suspended, if it is still the one seen: by UID and version."""

    kind: str
    name: str
    uid: str
    resource_version: str
    #: Name of the Lease of its partition: written anew before, and where that fails nothing is started.
    lease: str


@dataclass(frozen=True)
class DeleteWorkload:
    """Delete it in the foreground (it stays in sight until its pods are gone), after the status is written."""

    kind: str
    name: str
    uid: str
    reason: str


@dataclass(frozen=True)
class EndWorkload:
    """Set its activeDeadlineSeconds to 1: its controller ends its pod, and the workload stays to be read."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class AllowRetries:
    """Set its backoffLimit: spec.retries was changed while the workload is at work."""

    kind: str
    name: str
    uid: str
    backoff_limit: int


@dataclass(frozen=True)
class MoveToQueue:
    """Label it with another queue of Kueue's: the run's label was changed while the workload waits."""

    kind: str
    name: str
    uid: str
    queue: str


@dataclass(frozen=True)
class KeepFor:
    """Set ttlSecondsAfterFinished on a workload whose result is in the status; None takes it away."""

    kind: str
    name: str
    uid: str
    seconds: int | None


@dataclass(frozen=True)
class LookForRefusal:
    """Read its FailedCreate events; where they tell something new, decide again before anything is written."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class LookForObstacle:
    """Read the pod's Events of what its node cannot do; where they tell something new, decide again as well."""

    pod_uid: str


@dataclass(frozen=True)
class TakePartition:
    """Create the Lease, unless a pod of another run still uses the partition; decide again, whoever has it then."""

    lease: KubernetesObject


@dataclass(frozen=True)
class GiveBackPartition:
    """Delete the Lease, if it is still the one that was seen, and if the API server too has no Job and no pod on it."""

    name: str
    uid: str
    resource_version: str


def delete_workload(workload: Workload, reason: str) -> DeleteWorkload:
    """Return what deletes the workload, and why, for the log."""
    return DeleteWorkload(workload.kind.name, workload.name, workload.uid, reason)


Action = (
    CreateWorkload
    | StartWorkload
    | DeleteWorkload
    | EndWorkload
    | AllowRetries
    | MoveToQueue
    | KeepFor
    | LookForRefusal
    | LookForObstacle
    | TakePartition
    | GiveBackPartition
)
