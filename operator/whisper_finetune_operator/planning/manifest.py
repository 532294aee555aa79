"""Build the workload of a plan, of the kind that the runtime says."""

from typing import Any

from whisper_finetune_api.v1alpha1 import GROUP, KIND, MANAGED_BY, MANAGED_BY_LABEL, NAME_LABEL, UID_LABEL, VERSION
from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL
from whisper_finetune_operator.planning import pod_template
from whisper_finetune_operator.planning.plan import TrainingPlan
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.workloads.workload_kind import WorkloadOrder


def build_workload(plan: TrainingPlan, failed_before: int) -> KubernetesObject:
    """Return the whole object. `failed_before` attempts of earlier workloads are taken from spec.retries."""
    labels = {**labels_of_run(plan.run), **_partition_label(plan)}
    order = WorkloadOrder(
        metadata=_metadata(plan.run),
        runtime=plan.runtime.name,
        labels=labels,
        queue_labels=plan.labels,
        pod_template=pod_template.build_pod_template(plan, labels),
        retries=plan.config.spec.retries,
        failed_before=failed_before,
        ipus=plan.config.ipus,
        partition=plan.partition,
    )
    return plan.runtime.kind.build(order)


def labels_of_run(run: Run) -> dict[str, str]:
    """Return the labels that every object of a run carries."""
    return {UID_LABEL: run.uid, NAME_LABEL: run.name, MANAGED_BY_LABEL: MANAGED_BY}


def _metadata(run: Run) -> dict[str, Any]:
    return {
        "name": run.child_name,
        "namespace": run.namespace,
        "ownerReferences": [_owner(run)],
    }


def _partition_label(plan: TrainingPlan) -> dict[str, str]:
    return {PARTITION_LABEL: plan.partition.lease_name} if plan.partition else {}


def _owner(run: Run) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": run.name,
        "uid": run.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
