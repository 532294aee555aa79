"""Build the batch/v1 Job of a plan."""

from typing import Any

from whisper_finetune_api.causes import EXIT_STOPPED, FINAL_EXIT_CODES
from whisper_finetune_api.v1alpha1 import GROUP, KIND, MANAGED_BY, MANAGED_BY_LABEL, NAME_LABEL, UID_LABEL, VERSION
from whisper_finetune_operator import names, pod_template
from whisper_finetune_operator.jobs import FAILED_BEFORE_ANNOTATION
from whisper_finetune_operator.partition_leases import PARTITION_ID_ANNOTATION, PARTITION_LABEL
from whisper_finetune_operator.plan import TrainingPlan
from whisper_finetune_operator.pods import TRAINER_CONTAINER
from whisper_finetune_operator.world import Run


def build_job(plan: TrainingPlan, failed_before: int) -> dict[str, Any]:
    """Return the Job; `failed_before` attempts of earlier workloads are taken from spec.retries.

    It has no TTL before its result is read, and no deadline of its own: that would count waiting and start anew.
    """
    labels = {**labels_of(plan.run), **_partition_label(plan)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.child_name(plan.run.name, plan.run.uid),
            "namespace": plan.run.namespace,
            "labels": {**labels, **plan.labels},
            "annotations": {FAILED_BEFORE_ANNOTATION: str(failed_before), **_partition_annotation(plan)},
            "ownerReferences": [_owner(plan.run)],
        },
        "spec": {
            "backoffLimit": backoff_limit(plan.config.spec.retries, failed_before),
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _FAILURE_RULES},
            "template": pod_template.build(plan, labels),
            # Started by its version once it is there: see partition_course.
            **({"suspend": True} if plan.partition else {}),
        },
    }


def labels_of(run: Run) -> dict[str, str]:
    """Return the labels that every object of a run carries."""
    return {UID_LABEL: run.uid, NAME_LABEL: run.name, MANAGED_BY_LABEL: MANAGED_BY}


def backoff_limit(retries: int, failed_before: int) -> int:
    """Return how many failures the Job itself may see before it gives up."""
    return max(0, retries - failed_before)


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


def _on_exit(action: str, codes: list[int]) -> dict[str, Any]:
    return {
        "action": action,
        "onExitCodes": {"containerName": TRAINER_CONTAINER, "operator": "In", "values": codes},
    }


#: The first rule that fits decides; an end that fits none counts against backoffLimit. endings.meaning says the same.
_FAILURE_RULES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    _on_exit("Ignore", [EXIT_STOPPED]),
    _on_exit("FailJob", list(FINAL_EXIT_CODES)),
]
