"""What every backend does: transcribe, take optimizer steps, return and load its state.

There is one backend per kind of accelerator.
"""

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
    """The settings of a run that a backend reads: parts of its configuration, and values derived from them."""

    accelerator: Accelerator
    training: Training
    schedule: Schedule
    #: The layout on IPUs. It is None on other accelerators.
    ipu_plan: Optional[IpuPlan]
    scratch_folder: str
    #: How much of the scratch folder cached encoder outputs may take.
    encoder_outputs_bytes: int
    #: How long to wait for IPUs that others use.
    ipu_wait_seconds: int

    def layout(self) -> IpuPlan:
        """Return the layout on IPUs. Raises ValueError on other accelerators, which have none."""
        if self.ipu_plan is None:
            raise ValueError(f"accelerator {self.accelerator} has no layout on IPUs")
        return self.ipu_plan


@dataclass(frozen=True)
class StepDone:
    """What the training loop is told of an optimizer step."""

    #: The first step of a run is 1.
    step: int
    #: Mean over the step's tokens. IPUs return only the last micro-batch of each replica, so there it is the mean over
    #: those. It is finite: otherwise the backend has raised TrainingDiverged.
    loss: float
    #: The rate of this step.
    learning_rate: float
    #: How long the step took.
    seconds: float


#: Is called after every step, and returns whether to go on. An exception that it raises ends the training.
AfterStep = Callable[[StepDone], bool]


class Backend(Protocol):
    """Trains and evaluates the run's model on one kind of accelerator."""

    @property
    def ran_on(self) -> RanOn:
        """The hardware, library versions and precision that are really used."""

    def transcribe(self, clips: Sequence[Any], on_clip: Callable[[int], None]) -> List[Transcript]:
        """Return the transcript of each clip, in order. `on_clip` is told how many are done."""

    def train(self, first_step: int, after_step: AfterStep) -> None:
        """Take the optimizer steps after `first_step`, to the schedule's end or until `after_step` returns False.

        `after_step` may call all other methods.
        """

    def gather_weights(self) -> None:
        """Copy the weights as they are now into the loaded model's network, from which they are saved."""

    def state(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """Return tensors by name and JSON values, from which `load_state` goes on bit for bit.

        The tensors are live: write them before the next step.
        """

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
