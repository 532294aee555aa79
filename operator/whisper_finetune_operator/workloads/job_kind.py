"""A Job of batch/v1, built and read: the Job controller makes its pods, one after the other, until one ends well."""

from datetime import timedelta
from typing import Any

from whisper_finetune_api.causes import EXIT_STOPPED, EXIT_VERSIONS, FINAL_EXIT_CODES
from whisper_finetune_api.v1alpha1 import GROUP
from whisper_finetune_operator.back_off import doubled_wait
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, controller_of, parse_time
from whisper_finetune_operator.partitions.partition_leases import PARTITION_ID_ANNOTATION, PARTITION_LABEL
from whisper_finetune_operator.workloads.pods import TRAINER_CONTAINER, Pod
from whisper_finetune_operator.workloads.workload_kind import QUEUE_LABEL, End, Workload, WorkloadKind, WorkloadOrder

#: On each Job: the number of attempts that failed before it, to make its backoffLimit of a changed spec.retries.
FAILED_BEFORE_ANNOTATION = f"{GROUP}/failed-before"
#: On the Job of a partition, from its start on. Whoever suspends it after that is not the operator.
STARTED_ANNOTATION = f"{GROUP}/started"
#: On each Job: what the run keeps from its first plan on. Its status may not say it yet.
RUNTIME_ANNOTATION = f"{GROUP}/runtime"
IPUS_ANNOTATION = f"{GROUP}/ipus"
#: The waits of a Job's controller between the pods of one Job, however they ended.
_FIRST_BACK_OFF, _LAST_BACK_OFF = timedelta(seconds=10), timedelta(minutes=10)
#: What spec.managedBy names where the cluster's own controller runs the Job.
_JOB_CONTROLLER = "kubernetes.io/job-controller"
#: Longer numbers than this do not fit into the API's integers.
_DIGITS = 10


def build_job(order: WorkloadOrder) -> KubernetesObject:
    """Return the Job of an order.

    It has no TTL before its result is read. It has no deadline of its own, which would count waiting and begin anew.
    """
    planned = {RUNTIME_ANNOTATION: order.runtime, **({IPUS_ANNOTATION: str(order.ipus)} if order.ipus else {})}
    partition = {PARTITION_ID_ANNOTATION: order.partition.id} if order.partition else {}
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.name,
        "metadata": {
            **order.metadata,
            "labels": {**order.labels, **order.queue_labels},
            "annotations": {FAILED_BEFORE_ANNOTATION: str(order.failed_before), **planned, **partition},
        },
        "spec": {
            "backoffLimit": backoff_limit(order.retries, order.failed_before),
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _FAILURE_RULES},
            "template": order.pod_template,
            # It is started by its version once it is there: see partition_steps.
            **({"suspend": True} if order.partition else {}),
        },
    }


def backoff_limit(retries: int, failed_before: int) -> int:
    """Return how many failures the Job itself may see before it gives up."""
    return max(0, retries - failed_before)


def _on_exit(action: str, codes: list[int]) -> dict[str, Any]:
    return {
        "action": action,
        "onExitCodes": {"containerName": TRAINER_CONTAINER, "operator": "In", "values": codes},
    }


#: The first rule that fits decides. An end that fits none counts against backoffLimit: see endings.meaning_of_end.
_FAILURE_RULES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    _on_exit("Ignore", [EXIT_STOPPED]),
    # Also for a trainer of another version: the Job would try again at once, while the run waits for another image.
    _on_exit("FailJob", sorted((*FINAL_EXIT_CODES, EXIT_VERSIONS))),
]


def read_job(job: KubernetesObject, _: tuple[Pod, ...] = ()) -> Workload:
    """Return the facts of a raw Job."""
    metadata, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    started_at, managed_by = status.get("startTime"), spec.get("managedBy")
    return Workload(
        kind=JOB,
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata.get("resourceVersion", ""),
        created=parse_time(metadata["creationTimestamp"]),
        owner_uid=controller_of(job).get("uid"),
        deleted="deletionTimestamp" in metadata,
        suspended=bool(spec.get("suspend")),
        queue=labels.get(QUEUE_LABEL),
        managed_by=managed_by if managed_by != _JOB_CONTROLLER else None,
        started_at=parse_time(started_at) if started_at else None,
        started_before=STARTED_ANNOTATION in annotations or started_at is not None,
        end=_end(status),
        backoff_limit=spec["backoffLimit"],
        failed_before=_number(annotations.get(FAILED_BEFORE_ANNOTATION)),
        partition=labels.get(PARTITION_LABEL),
        partition_id=annotations.get(PARTITION_ID_ANNOTATION),
        runtime=annotations.get(RUNTIME_ANNOTATION),
        ipus=_number(annotations.get(IPUS_ANNOTATION)) or None,
        active_deadline_seconds=spec.get("activeDeadlineSeconds"),
        ttl_seconds_after_finished=spec.get("ttlSecondsAfterFinished"),
    )


def _number(text: str | None) -> int:
    # Anybody may write annotations, and no pass over the run must fail because of one.
    return int(text) if text and text.isdecimal() and len(text) < _DIGITS else 0


def _end(status: KubernetesObject) -> End | None:
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            ended_at = parse_time(condition["lastTransitionTime"])
            return End(condition["type"], condition.get("reason", ""), condition.get("message", ""), ended_at)
    return None


def _back_off(ends: int) -> timedelta:
    return doubled_wait(_FIRST_BACK_OFF, ends, _LAST_BACK_OFF)


JOB = WorkloadKind(
    name="Job",
    api_version="batch/v1",
    plural="jobs",
    pod_template_path="spec.template",
    build=build_job,
    read=read_job,
    back_off=_back_off,
    is_retried_by_its_controller=True,
    goes_by_its_own_ttl=True,
    is_queued_by_kueue=True,
    takes_partitions=True,
    claims_its_run=True,
    brings_ipus=False,
    shares_host_network=False,
)
