"""The Lease of a V-IPU partition: whoever creates it has the partition, and to delete it gives that back. Pure.

It is renewed before each workload that is made on the partition, and deleted by its UID and version. So whoever decided
to give it back before the renewal cannot do so any more.
"""

from dataclasses import dataclass
from datetime import datetime

from whisper_finetune_api.v1alpha1 import GROUP, MANAGED_BY, MANAGED_BY_LABEL, NAME_LABEL, UID_LABEL
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, parse_time, render_micro_time
from whisper_finetune_operator.runs import Run

#: On Leases, and on the Jobs and pods that use the partition: the Lease's name.
PARTITION_LABEL = f"{GROUP}/partition"
PARTITION_ID_ANNOTATION = f"{GROUP}/partition-id"
_NAMESPACE_ANNOTATION = f"{GROUP}/run-namespace"


@dataclass(frozen=True)
class PartitionLease:
    """The Lease of a partition, which says who has it."""

    name: str
    uid: str
    resource_version: str
    partition_id: str
    #: When it was taken. None in a Lease that does not say.
    acquired: datetime | None
    #: The run that has it. Empty in a Lease that no operator made.
    run_uid: str
    run_name: str
    run_namespace: str


def build_lease(run: Run, lease_name: str, partition_id: str, now: datetime) -> KubernetesObject:
    """Return the Lease by which a run takes the partition. The operator adds its namespace."""
    labels = {PARTITION_LABEL: lease_name, UID_LABEL: run.uid, NAME_LABEL: run.name}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": lease_name,
            "labels": {**labels, MANAGED_BY_LABEL: MANAGED_BY},
            "annotations": {PARTITION_ID_ANNOTATION: partition_id, _NAMESPACE_ANNOTATION: run.namespace},
        },
        "spec": {
            "holderIdentity": run.uid,
            "acquireTime": render_micro_time(now),
            "renewTime": render_micro_time(now),
        },
    }


def renewed_lease(lease: KubernetesObject, now: datetime) -> KubernetesObject:
    """Return the Lease as it is renewed before a workload is made. The renewal changes its version."""
    return {**lease, "spec": {**lease["spec"], "renewTime": render_micro_time(now)}}


def read_lease(lease: KubernetesObject) -> PartitionLease:
    """Return the facts of a raw Lease."""
    metadata = lease["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    holder = lease["spec"].get("holderIdentity") or ""
    return PartitionLease(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        partition_id=annotations.get(PARTITION_ID_ANNOTATION, metadata["name"]),
        acquired=_time(lease["spec"].get("acquireTime")),
        run_uid=holder if labels.get(UID_LABEL) == holder else "",
        run_name=labels.get(NAME_LABEL, ""),
        run_namespace=annotations.get(_NAMESPACE_ANNOTATION, ""),
    )


def partition_of(child: KubernetesObject) -> str | None:
    """Return the name of the Lease of the partition that a Job or pod is made for."""
    name: str | None = (child["metadata"].get("labels") or {}).get(PARTITION_LABEL)
    return name


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
