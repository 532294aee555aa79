"""Read the Job of a run: raw object in, the few facts that decisions need out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from whisper_finetune_api.v1alpha1 import GROUP
from whisper_finetune_operator import partition_leases, timestamps
from whisper_finetune_operator.partition_leases import PARTITION_ID_ANNOTATION
from whisper_finetune_operator.world import KubernetesObject, controller_of

#: On each Job: the failed attempts before it, so that a changed spec.retries can be turned into its backoffLimit.
FAILED_BEFORE_ANNOTATION = f"{GROUP}/failed-before"


@dataclass(frozen=True)
class End:
    """How the Job ended, by its own condition."""

    type: Literal["Complete", "Failed"]
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True)
class Job:
    """The run's workload as it stands."""

    name: str
    uid: str
    resource_version: str
    #: UID of the controller that owns it; None where nobody does.
    owner_uid: str | None
    deleted: bool
    #: Kueue, or somebody's hand, keeps it from having pods.
    suspended: bool
    #: The Job controller has seen it, and it wants a pod since then.
    started_at: datetime | None
    end: End | None
    backoff_limit: int
    failed_before: int
    #: Name of the Lease of the partition that it is made for.
    partition: str | None
    partition_id: str | None
    active_deadline_seconds: int | None
    ttl_seconds_after_finished: int | None


def read(job: KubernetesObject) -> Job:
    """Return the facts of a raw Job."""
    metadata, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    annotations = metadata.get("annotations") or {}
    started_at = status.get("startTime")
    return Job(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata.get("resourceVersion", ""),
        owner_uid=controller_of(job).get("uid"),
        deleted="deletionTimestamp" in metadata,
        suspended=bool(spec.get("suspend")),
        started_at=timestamps.parse(started_at) if started_at else None,
        end=_end(status),
        backoff_limit=spec["backoffLimit"],
        failed_before=int(annotations.get(FAILED_BEFORE_ANNOTATION, 0)),
        partition=partition_leases.partition_of(job),
        partition_id=annotations.get(PARTITION_ID_ANNOTATION),
        active_deadline_seconds=spec.get("activeDeadlineSeconds"),
        ttl_seconds_after_finished=spec.get("ttlSecondsAfterFinished"),
    )


def _end(status: KubernetesObject) -> End | None:
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            ended_at = timestamps.parse(condition["lastTransitionTime"])
            return End(condition["type"], condition.get("reason", ""), condition.get("message", ""), ended_at)
    return None
