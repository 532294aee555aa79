"""Where a run stands and what comes next: its phase, the actions, and when to look again. Pure.

A phase is one state, one reason and one message. Each action names the UID of what it acts on: it cannot hit a
successor.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Literal

from whisper_finetune_api import reading
from whisper_finetune_api.causes import Reason
from whisper_finetune_api.v1alpha1 import Condition, PartitionBackOff
from whisper_finetune_api.v1alpha1.status import State
from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.partitions.partition_leases import PartitionLease
from whisper_finetune_operator.workloads.workload_kind import Workload

#: How often a cause is looked at that no watch tells of, such as an object of somebody else's.
UNWATCHED_REQUEUE_SECONDS = 30.0
#: What is refused is asked for again after a third of the time that it has been refused, within these.
FIRST_RETRY_SECONDS = 30.0
LAST_RETRY_SECONDS = 600.0
_MESSAGE_MAX_LENGTH = 1024
#: The trainer's container runs.
RUNNING_STATES = ("Running", "Preparing", "Evaluating", "Training")
FINAL_STATES = ("Succeeded", "Failed")

#: Reasons besides those of causes.py and the names of the states, which stand for nothing special.
RETRYING: Final = "Retrying"
ENDING: Final = "Ending"
SUSPENDING: Final = "Suspending"
#: What a phase may give as its reason.
PhaseReason = State | Reason | Literal["Retrying", "Ending", "Suspending"]


@dataclass(frozen=True)
class Phase:
    """What the conditions are made from."""

    state: State
    reason: PhaseReason
    message: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the run never runs again."""
        return self.state in FINAL_STATES

    @classmethod
    def failed(cls, reason: Reason, message: str) -> "Phase":
        """Return the phase of a final cause."""
        return cls("Failed", reason, message)

    @classmethod
    def waiting(cls, reason: PhaseReason, message: str) -> "Phase":
        """Return the phase of a cause that can be mended from outside."""
        return cls("Pending", reason, message)


NOT_STARTED = Phase("Pending", "Pending", "the trainer's pod has not started yet")


def condition_of(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def condition_message(message: str) -> str:
    """Return a message as a condition or an Event takes it: one line, nothing unprintable, at most 1,024 characters."""
    line = " ".join(reading.printable_text(message).split())
    return line if len(line) <= _MESSAGE_MAX_LENGTH else f"{line[: _MESSAGE_MAX_LENGTH - 1]}…"


@dataclass(frozen=True)
class CreateWorkload:
    """Create it as it stands here; that its name is taken (409) is an answer: read who owns it, decide again."""

    manifest: KubernetesObject
    #: The run had a workload before: list its pods from the API server, not from a watch, and create only where
    #: none may still be running; a Job deleted by hand is gone before its pod is.
    check_pods_first: bool
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
class ReadRefusal:
    """Read its FailedCreate events; where they tell something new, decide again before anything is written."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class ReadObstacle:
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
    | ReadRefusal
    | ReadObstacle
    | TakePartition
    | GiveBackPartition
)


def retry_seconds(refused: timedelta, run_uid: str, *, last_seconds: float = LAST_RETRY_SECONDS) -> float:
    """Return when to try again what has been refused for so long; runs that were refused together are spread."""
    wait = min(max(FIRST_RETRY_SECONDS, refused.total_seconds() / 3), last_seconds)
    return wait * (1 - zlib.crc32(run_uid.encode()) / 2**32 / 4)


@dataclass(frozen=True)
class Pinned:
    """What a run keeps from its first plan on: the status holds it."""

    runtime: str | None = None
    ipus: int | None = None


@dataclass(frozen=True)
class NextStep:
    """The phase to show, the actions, and when to look again."""

    phase: Phase
    actions: tuple[Action, ...] = ()
    requeue_seconds: float | None = None
    #: Of a run that was planned for a workload.
    pinned: Pinned | None = None
    #: Of a run that gave its partition back without having used it.
    back_off: PartitionBackOff | None = None

    def requeued_within(self, seconds: float) -> "NextStep":
        """Return the step, looked at again after so many seconds at the latest."""
        if self.requeue_seconds is not None and self.requeue_seconds <= seconds:
            return self
        return replace(self, requeue_seconds=seconds)


def give_back(leases: Iterable[PartitionLease]) -> tuple[GiveBackPartition, ...]:
    """Return what gives these Leases back."""
    return tuple(GiveBackPartition(lease.name, lease.uid, lease.resource_version) for lease in leases)
