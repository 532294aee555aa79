"""What a backend does: transcribe, take optimizer steps, give and take its state. One per kind of accelerator."""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

import torch

from whisper_finetune_api.planning.ipu_plan import IpuPlan
from whisper_finetune_api.run import Accelerator, Schedule
from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_api.v1alpha1.status import RanOn
from whisper_finetune_trainer.model.generation import Transcript


@dataclass(frozen=True)
class BackendSettings:
    """What a backend reads of a run: the sections of its configuration, and what follows from them."""

    accelerator: Accelerator
    training: Training
    schedule: Schedule
    #: The layout on IPUs; None on other accelerators.
    ipu_plan: Optional[IpuPlan]
    scratch_folder: str
    #: What cached encoder outputs may take of the scratch folder.
    encoder_outputs_bytes: int
    #: How long IPUs that others hold are waited for.
    ipu_wait_seconds: int

    def layout(self) -> IpuPlan:
        """Return the layout on IPUs; ValueError for another accelerator, which has none."""
        if self.ipu_plan is None:
            raise ValueError(f"accelerator {self.accelerator} has no layout on IPUs")
        return self.ipu_plan


@dataclass(frozen=True)
class StepDone:
    """One optimizer step, as the training loop is told of it."""

    #: From 1.
    step: int
    #: Mean over the step's tokens. On IPUs that of each replica's last micro-batch, which is all that they return.
    #: It is finite, else the backend has raised TrainerError(TrainingDiverged).
    loss: float
    #: The rate that the step was taken with.
    learning_rate: float
    #: How long the step took.
    seconds: float


#: Told of every step while nothing is pending; returns whether to go on. What it raises ends the training.
AfterStep = Callable[[StepDone], bool]


class Backend(Protocol):
    """A model that learns from the run's clips."""

    @property
    def ran_on(self) -> RanOn:
        """Hardware, library versions and precision that are really used."""

    def transcribe(self, clips: Sequence[Any], on_clip: Callable[[int], None]) -> List[Transcript]:
        """Return what is heard of each clip, in order; `on_clip` is told how many are done."""

    def train(self, first_step: int, after_step: AfterStep) -> None:
        """Take the optimizer steps `first_step` + 1, ... of the schedule until its end or `after_step` says so.

        All other methods may be called from within `after_step`.
        """

    def gather_weights(self) -> None:
        """Bring the weights as they are now into the loaded model's network, which is what is saved."""

    def state(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """Return tensors (live ones: write them before the next step) and JSON values to go on from bit for bit."""

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Become what `state` returned."""
