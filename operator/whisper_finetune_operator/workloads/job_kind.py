"""Read the Job of a run: raw object in, the few facts that decisions need out."""

from datetime import timedelta

from whisper_finetune_api.v1alpha1 import GROUP
from whisper_finetune_operator import timestamps
from whisper_finetune_operator.back_off import doubled
from whisper_finetune_operator.partitions import partition_leases
from whisper_finetune_operator.partitions.partition_leases import PARTITION_ID_ANNOTATION
from whisper_finetune_operator.planning.plan import QUEUE_LABEL
from whisper_finetune_operator.workloads.workload_kind import End, Workload
from whisper_finetune_operator.world import KubernetesObject, controller_of

#: On each Job: the failed attempts before it, so that a changed spec.retries can be turned into its backoffLimit.
FAILED_BEFORE_ANNOTATION = f"{GROUP}/failed-before"
#: On the Job of a partition, from its start on: who suspends it after that is not the operator.
STARTED_ANNOTATION = f"{GROUP}/started"
#: How a Job's controller waits between the pods of one Job, whatever they ended by.
_FIRST_BACK_OFF, _LAST_BACK_OFF = timedelta(seconds=10), timedelta(minutes=10)
#: What spec.managedBy names where it names what every cluster has.
_JOB_CONTROLLER = "kubernetes.io/job-controller"

#: Of a number that the API can hold.
_DIGITS = 10


def read(job: KubernetesObject) -> Workload:
    """Return the facts of a raw Job."""
    metadata, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    annotations = metadata.get("annotations") or {}
    started_at, managed_by = status.get("startTime"), spec.get("managedBy")
    return Workload(
        kind="Job",
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata.get("resourceVersion", ""),
        created=timestamps.parse(metadata["creationTimestamp"]),
        owner_uid=controller_of(job).get("uid"),
        deleted="deletionTimestamp" in metadata,
        suspended=bool(spec.get("suspend")),
        queue=(metadata.get("labels") or {}).get(QUEUE_LABEL),
        managed_by=managed_by if managed_by != _JOB_CONTROLLER else None,
        started_at=timestamps.parse(started_at) if started_at else None,
        started_before=STARTED_ANNOTATION in annotations or started_at is not None,
        end=_end(status),
        backoff_limit=spec["backoffLimit"],
        failed_before=_number(annotations.get(FAILED_BEFORE_ANNOTATION)),
        partition=partition_leases.partition_of(job),
        partition_id=annotations.get(PARTITION_ID_ANNOTATION),
        active_deadline_seconds=spec.get("activeDeadlineSeconds"),
        ttl_seconds_after_finished=spec.get("ttlSecondsAfterFinished"),
    )


def _number(text: str | None) -> int:
    # Anybody may write annotations: no look at the run must fail by that.
    return int(text) if text and text.isdecimal() and len(text) < _DIGITS else 0


def back_off(ends: int) -> timedelta:
    """Return how long after so many ends of its pods a Job's controller makes the next one."""
    return doubled(_FIRST_BACK_OFF, ends, _LAST_BACK_OFF)


def _end(status: KubernetesObject) -> End | None:
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            ended_at = timestamps.parse(condition["lastTransitionTime"])
            return End(condition["type"], condition.get("reason", ""), condition.get("message", ""), ended_at)
    return None
