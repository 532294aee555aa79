"""Where a run stands and what comes next: its phase, the actions, and when to reconcile again. Pure.

A phase is one state, one reason and one message. Each action names the UID of what it acts on, so it cannot hit a
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
from whisper_finetune_api.v1alpha1.acceptance import Judgement
from whisper_finetune_api.v1alpha1.status import State
from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.partitions.partition_leases import PartitionLease
from whisper_finetune_operator.workloads.workload_kind import Workload

#: How often a cause is checked that no watch tells of, such as somebody else's object.
UNWATCHED_REQUEUE_SECONDS = 30.0
#: What is refused is tried again after a third of the time that it has been refused, within these bounds.
FIRST_RETRY_SECONDS = 30.0
LAST_RETRY_SECONDS = 600.0
_MESSAGE_MAX_LENGTH = 1024
#: States in which the trainer's container runs.
RUNNING_STATES = ("Running", "Preparing", "Evaluating", "Training")
FINAL_STATES = ("Succeeded", "Failed")

#: Reasons that are neither in causes.py nor the name of a state.
RETRYING: Final = "Retrying"
ENDING: Final = "Ending"
SUSPENDING: Final = "Suspending"
NOT_ACCEPTED: Final = "NotAccepted"
#: All reasons that a phase may have. The name of a state stands for nothing special.
PhaseReason = State | Reason | Literal["Retrying", "Ending", "Suspending"]


@dataclass(frozen=True)
class Phase:
    """Where a run stands. The conditions of its status are made from it."""

    state: State
    reason: PhaseReason
    message: str = ""
    #: Of a run with a result that asks for something.
    judgement: Judgement | None = None

    @property
    def is_final(self) -> bool:
        """Whether the run will never run again."""
        return self.state in FINAL_STATES

    @property
    def shown_reason(self) -> str | None:
        """What the column REASON shows: why the run waits or has failed, or that its model is not accepted."""
        if self.judgement and not self.judgement.accepted:
            return NOT_ACCEPTED
        return None if self.reason == self.state else self.reason

    @classmethod
    def failed(cls, reason: Reason, message: str) -> "Phase":
        """Return the phase of a final cause."""
        return cls("Failed", reason, message)

    @classmethod
    def waiting(cls, reason: PhaseReason, message: str) -> "Phase":
        """Return the phase of a cause that somebody can correct, or that passes by itself."""
        return cls("Pending", reason, message)


NOT_STARTED = Phase("Pending", "Pending", "the trainer's pod has not started yet")


def condition_of(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)


def condition_message(message: str) -> str:
    """Return a message as a condition or an Event takes it: one printable line of at most 1,024 characters."""
    line = " ".join(reading.printable_text(message).split())
    return line if len(line) <= _MESSAGE_MAX_LENGTH else f"{line[: _MESSAGE_MAX_LENGTH - 1]}…"


@dataclass(frozen=True)
class CreateWorkload:
    """Create the workload as it is given here. Where its name is taken (409), read who has it, and decide again."""

    manifest: KubernetesObject
    #: The run had a workload before, or may have had one: ask the API server for its pods, and create only where none
    #: may still be running. A Job that was deleted by hand is gone before its pod is, which no watch may show.
    check_pods_first: bool
    #: Name of its partition's Lease. It is renewed first, and where that fails nothing is created.
    lease: str | None = None
    #: Create it before the status is written: it says itself whose the run is.
    claims: bool = False
    #: Told by an Event once it is created.
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class StartWorkload:
    """Let a workload that was made suspended have its pod, if UID and version still are what was seen."""

    kind: str
    name: str
    uid: str
    resource_version: str
    #: Name of its partition's Lease. It is renewed first, and where that fails nothing is started.
    lease: str


@dataclass(frozen=True)
class DeleteWorkload:
    """Delete the workload in the foreground, after the status is written. It stays in sight until its pods are gone."""

    kind: str
    name: str
    uid: str
    reason: str


@dataclass(frozen=True)
class EndWorkload:
    """Set the workload's activeDeadlineSeconds to 1. Its controller ends its pod, and the workload stays to be read."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class AllowRetries:
    """Set the workload's backoffLimit, because spec.retries was changed while it is at work."""

    kind: str
    name: str
    uid: str
    backoff_limit: int


@dataclass(frozen=True)
class MoveToQueue:
    """Label the workload with another of Kueue's queues, because the run's label was changed while it waits."""

    kind: str
    name: str
    uid: str
    queue: str


@dataclass(frozen=True)
class KeepFor:
    """Set ttlSecondsAfterFinished of a workload whose result is in the status. None removes it."""

    kind: str
    name: str
    uid: str
    seconds: int | None


@dataclass(frozen=True)
class ReadRefusal:
    """Read the workload's FailedCreate Events.

    Where they tell something new, decide again before anything is written.
    """

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class ReadObstacle:
    """Read the Events by which the pod's node says what it cannot do. Where they tell something new, decide again."""

    pod_uid: str


@dataclass(frozen=True)
class ReadQueue:
    """Read what Kueue says of a Job that waits. Where that is news, decide again."""

    job_uid: str


@dataclass(frozen=True)
class TakePartition:
    """Create the Lease, unless a pod of another run still uses the partition. Decide again, whoever has it then."""

    lease: KubernetesObject


@dataclass(frozen=True)
class GiveBackPartition:
    """Delete the Lease, if it is still the one that was seen and the API server has no Job and no pod on it either."""

    name: str
    uid: str
    resource_version: str


def delete_workload(workload: Workload, reason: str) -> DeleteWorkload:
    """Return the action that deletes the workload, with the reason for the log."""
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
    | ReadQueue
    | TakePartition
    | GiveBackPartition
)


def retry_seconds(refused: timedelta, run_uid: str, *, last_seconds: float = LAST_RETRY_SECONDS) -> float:
    """Return when to try again what has been refused for so long. Runs that were refused together are spread."""
    wait = min(max(FIRST_RETRY_SECONDS, refused.total_seconds() / 3), last_seconds)
    return wait * (1 - zlib.crc32(run_uid.encode()) / 2**32 / 4)


@dataclass(frozen=True)
class Pinned:
    """What a run keeps from its first plan on. Its status remembers it."""

    runtime: str | None = None
    ipus: int | None = None


@dataclass(frozen=True)
class NextStep:
    """The phase to show, the actions, and when to reconcile again."""

    phase: Phase
    actions: tuple[Action, ...] = ()
    requeue_seconds: float | None = None
    #: Set where a workload was planned.
    pinned: Pinned | None = None
    #: Set where the run gave its partition back without having used it.
    back_off: PartitionBackOff | None = None

    def requeued_within(self, seconds: float) -> "NextStep":
        """Return the step with a requeue after so many seconds at the latest."""
        if self.requeue_seconds is not None and self.requeue_seconds <= seconds:
            return self
        return replace(self, requeue_seconds=seconds)


def give_back(leases: Iterable[PartitionLease]) -> tuple[GiveBackPartition, ...]:
    """Return the actions that give these Leases back."""
    return tuple(GiveBackPartition(lease.name, lease.uid, lease.resource_version) for lease in leases)
