"""The parts of a manifest that only a Job has."""

from typing import Any

from whisper_finetune_api.causes import EXIT_STOPPED, EXIT_VERSIONS, FINAL_EXIT_CODES
from whisper_finetune_operator.planning import pod_template
from whisper_finetune_operator.planning.plan import TrainingPlan
from whisper_finetune_operator.workloads.job_kind import FAILED_BEFORE_ANNOTATION
from whisper_finetune_operator.workloads.pods import TRAINER_CONTAINER

API_VERSION = "batch/v1"


def annotations(failed_before: int) -> dict[str, str]:
    """Return what the Job is annotated with, so that a changed spec.retries can be turned into its backoffLimit."""
    return {FAILED_BEFORE_ANNOTATION: str(failed_before)}


def spec(plan: TrainingPlan, labels: dict[str, str], failed_before: int) -> dict[str, Any]:
    """Return the Job's spec; `failed_before` attempts of earlier workloads are taken from spec.retries.

    It has no TTL before its result is read, and no deadline of its own: that would count waiting and start anew.
    """
    return {
        "backoffLimit": backoff_limit(plan.config.spec.retries, failed_before),
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": _FAILURE_RULES},
        "template": pod_template.build(plan, labels),
        # Started by its version once it is there: see partition_course.
        **({"suspend": True} if plan.partition else {}),
    }


def backoff_limit(retries: int, failed_before: int) -> int:
    """Return how many failures the Job itself may see before it gives up."""
    return max(0, retries - failed_before)


def _on_exit(action: str, codes: list[int]) -> dict[str, Any]:
    return {
        "action": action,
        "onExitCodes": {"containerName": TRAINER_CONTAINER, "operator": "In", "values": codes},
    }


#: The first rule that fits decides; an end that fits none counts against backoffLimit. endings.meaning says the same.
_FAILURE_RULES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    _on_exit("Ignore", [EXIT_STOPPED]),
    # A trainer of another version too: the Job would try again at once, and the run waits for another image.
    _on_exit("FailJob", sorted((*FINAL_EXIT_CODES, EXIT_VERSIONS))),
]
