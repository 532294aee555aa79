"""Build the workload of a plan: a Job, or an IPUJob where the runtime says so."""

from typing import Any

from whisper_finetune_api.v1alpha1 import GROUP, KIND, MANAGED_BY, MANAGED_BY_LABEL, NAME_LABEL, UID_LABEL, VERSION
from whisper_finetune_operator.partitions.partition_leases import PARTITION_ID_ANNOTATION, PARTITION_LABEL
from whisper_finetune_operator.planning.plan import TrainingPlan
from whisper_finetune_operator.workloads import ipu_job_kind, ipu_job_manifest, job_manifest, names
from whisper_finetune_operator.world import Run


def build(plan: TrainingPlan, failed_before: int) -> dict[str, Any]:
    """Return the Job or IPUJob; `failed_before` attempts of earlier ones are taken from spec.retries."""
    if plan.runtime.workload == "IPUJob":
        labels = labels_of(plan.run)
        metadata = {**_metadata(plan), "labels": labels}
        parts = {"apiVersion": ipu_job_kind.API_VERSION, "kind": "IPUJob", "metadata": metadata}
        return {**parts, "spec": ipu_job_manifest.spec(plan, labels)}
    labels = {**labels_of(plan.run), **_partition_label(plan)}
    metadata = {
        **_metadata(plan),
        "labels": {**labels, **plan.labels},
        "annotations": {**job_manifest.annotations(failed_before), **_partition_annotation(plan)},
    }
    parts = {"apiVersion": job_manifest.API_VERSION, "kind": "Job", "metadata": metadata}
    return {**parts, "spec": job_manifest.spec(plan, labels, failed_before)}


def labels_of(run: Run) -> dict[str, str]:
    """Return the labels that every object of a run carries."""
    return {UID_LABEL: run.uid, NAME_LABEL: run.name, MANAGED_BY_LABEL: MANAGED_BY}


def _metadata(plan: TrainingPlan) -> dict[str, Any]:
    run = plan.run
    return {
        "name": names.child_name(run.name, run.uid),
        "namespace": run.namespace,
        "ownerReferences": [_owner(run)],
    }


def _partition_label(plan: TrainingPlan) -> dict[str, str]:
    return {PARTITION_LABEL: plan.partition.lease_name} if plan.partition else {}


def _partition_annotation(plan: TrainingPlan) -> dict[str, str]:
    return {PARTITION_ID_ANNOTATION: plan.partition.id} if plan.partition else {}


def _owner(run: Run) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": run.name,
        "uid": run.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
