"""What a run's own status says about how far it is; a pure module."""

from dataclasses import dataclass
from typing import Any

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus

TRAINING = "training"


@dataclass(frozen=True)
class Amount:
    """How much of a stage is done."""

    unit: str
    done: int
    total: int


@dataclass(frozen=True)
class Sight:
    """One look at a run."""

    state: str
    reason: str
    message: str
    status: WhisperFineTuneStatus

    @property
    def is_finished(self) -> bool:
        return self.state in {"Succeeded", "Failed"}

    @property
    def is_under_way(self) -> bool:
        return self.state in {"Running", "Preparing", "Evaluating", "Training"}

    @property
    def is_training(self) -> bool:
        return self.state == "Training"

    @property
    def stage(self) -> str:
        """Return what is being done, in the demo's words."""
        if self.state == "Evaluating":
            return "evaluating before training" if self.status.baseline is None else "evaluating after training"
        return {"Preparing": "reading model and clips", "Training": TRAINING}.get(self.state, "starting the pod")

    @property
    def amount(self) -> Amount | None:
        """Return how much of the stage is done; None where it has no measure."""
        progress = self.status.progress
        if progress and progress.clips_to_evaluate and self.state == "Evaluating":
            return Amount("clip", progress.evaluated_clips or 0, progress.clips_to_evaluate)
        return Amount("step", progress.step, progress.total_steps) if progress and self.is_training else None

    @property
    def waits_for(self) -> str:
        """Return the reason and message of what keeps the run from starting; empty where it is only on its way."""
        # A run that nothing keeps has its state for a reason.
        is_kept = not self.is_under_way and self.reason not in {"", self.state}
        return f"waiting: {self.reason}: {self.message}" if is_kept else ""


def look(run: dict[str, Any]) -> Sight:
    """Return what the object shows; an operator that has not seen it yet leaves the status empty."""
    status = WhisperFineTuneStatus.model_validate(run.get("status", {}))
    succeeded = next((condition for condition in status.conditions if condition.type == "Succeeded"), None)
    return Sight(
        state=status.state or "Pending",
        reason=succeeded.reason if succeeded else "",
        message=succeeded.message if succeeded else "",
        status=status,
    )
