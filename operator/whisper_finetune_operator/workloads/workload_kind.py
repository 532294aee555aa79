"""What decisions need to know of the one object that makes a run's pods: a Job, or Graphcore's IPUJob."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["Job", "IPUJob"]
KINDS: tuple[Kind, ...] = ("Job", "IPUJob")


@dataclass(frozen=True)
class End:
    """How it ended: by a Job's own condition, or Spent where an IPUJob's one pod has ended, which tells how."""

    type: Literal["Complete", "Failed", "Spent"]
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True)
class Workload:
    """The run's workload as it stands; what only a Job has is empty in an IPUJob."""

    kind: Kind
    name: str
    uid: str
    resource_version: str
    created: datetime
    #: UID of the controller that owns it; None where nobody does.
    owner_uid: str | None
    deleted: bool
    end: End | None
    #: What its controller says about it, for people.
    remark: str = ""
    #: Kueue, somebody's hand, or its partition's rule keeps a Job from having pods.
    suspended: bool = False
    #: Kueue's queue that a Job waits in, or was admitted by; None where it has none.
    queue: str | None = None
    #: Who runs a Job in place of this cluster's Job controller: Kueue names itself where another cluster does.
    managed_by: str | None = None
    #: The Job controller has seen it, and it wants a pod since then, or since it was resumed.
    started_at: datetime | None = None
    #: It was started once, by whomever: Kueue takes the start time away when it suspends a Job.
    started_before: bool = False
    backoff_limit: int = 0
    failed_before: int = 0
    #: Name of the Lease of the partition that it is made for, and the partition's id.
    partition: str | None = None
    partition_id: str | None = None
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
