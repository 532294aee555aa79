"""What a decision may ask for. Each action names the UID of what it acts on: it cannot hit a successor."""

from dataclasses import dataclass

from whisper_finetune_operator.workloads.workload_kind import Kind
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
    """Let a Job have its pod that was made suspended, if it is still the one that was seen: by UID and version."""

    name: str
    uid: str
    resource_version: str
    #: Name of the Lease of its partition: written anew before, and where that fails nothing is started.
    lease: str


@dataclass(frozen=True)
class DeleteWorkload:
    """Delete it in the foreground (it stays in sight until its pods are gone), after the status is written."""

    kind: Kind
    name: str
    uid: str
    reason: str


@dataclass(frozen=True)
class EndWorkload:
    """Set the Job's activeDeadlineSeconds to 1: the Job controller ends its pod, and the Job stays to be read."""

    name: str
    uid: str


@dataclass(frozen=True)
class AllowRetries:
    """Set the Job's backoffLimit: spec.retries was changed while the Job is at work."""

    name: str
    uid: str
    backoff_limit: int


@dataclass(frozen=True)
class MoveToQueue:
    """Label the Job with another queue of Kueue's: the run's label was changed while the Job waits."""

    name: str
    uid: str
    queue: str


@dataclass(frozen=True)
class KeepFor:
    """Set ttlSecondsAfterFinished on a Job whose result is in the status; None takes it away."""

    name: str
    uid: str
    seconds: int | None


@dataclass(frozen=True)
class LookForRefusal:
    """Read the Job's FailedCreate events; where they tell something new, decide again before anything is written."""

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
