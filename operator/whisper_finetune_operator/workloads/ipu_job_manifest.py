"""The parts of a manifest that only an IPUJob has: one worker on a partition that Graphcore's IPU operator makes."""

from typing import Any

from whisper_finetune_operator.planning import pod_template
from whisper_finetune_operator.planning.plan import TrainingPlan


def spec(plan: TrainingPlan, labels: dict[str, str]) -> dict[str, Any]:
    """Return the IPUJob's spec: one attempt, whose pod stays to be read; the next one is the operator's to make."""
    return {
        "jobInstances": 1,
        "ipusPerJobInstance": str(plan.config.ipus),
        "cleanPodPolicy": "None",
        "restartPolicy": {"type": "Never"},
        "workers": {"replicas": 1, "template": pod_template.build(plan, labels)},
    }
