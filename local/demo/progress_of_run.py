"""How far a run is, by its own status. Pure."""

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
    """What a run shows at one moment."""

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
        """Return how much of the stage is done, or None where nobody can say."""
        progress = self.status.progress
        if progress and progress.clips_to_evaluate and self.state == "Evaluating":
            return Amount("clip", progress.evaluated_clips or 0, progress.clips_to_evaluate)
        return Amount("step", progress.step, progress.total_steps) if progress and self.is_training else None

    @property
    def waits_for(self) -> str:
        """Return reason and message of what keeps the run from starting. The text is empty where nothing does."""
        # If nothing keeps a run from starting, its reason is its state.
        is_kept = not self.is_under_way and self.reason not in {"", self.state}
        return f"waiting: {self.reason}: {self.message}" if is_kept else ""


def look(run: dict[str, Any]) -> Sight:
    """Return what the run's object shows. The status is empty until the operator has seen the object."""
    status = WhisperFineTuneStatus.model_validate(run.get("status", {}))
    succeeded = next((condition for condition in status.conditions if condition.type == "Succeeded"), None)
    return Sight(
        state=status.state or "Pending",
        reason=succeeded.reason if succeeded else "",
        message=succeeded.message if succeeded else "",
        status=status,
    )
