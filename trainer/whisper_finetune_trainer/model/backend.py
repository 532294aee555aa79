"""What every backend does: transcribe, take optimizer steps, return and load its state. And the plan that it follows.

There is one backend per kind of accelerator.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple, Union

import torch

from whisper_finetune_api.planning import ipu_planning, run_plan
from whisper_finetune_api.planning.ipu_plan import IpuPlan, IpuPlanError
from whisper_finetune_api.planning.model_dimensions import Dimensions
from whisper_finetune_api.run import Accelerator, Schedule
from whisper_finetune_api.v1alpha1 import Training, WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.status import RanOn
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.model.sequential_transcription import NoTranscription, TranscribeRecordings


@dataclass(frozen=True)
class TrainingPlan:
    """The schedule that a trainer runs, and the layout on IPUs. `ipu` is None on other accelerators."""

    schedule: Schedule
    ipu: Optional[IpuPlan]


def plan_training(
    spec: WhisperFineTuneSpec, accelerator: Accelerator, ipus: Optional[int], dimensions: Dimensions
) -> TrainingPlan:
    """Return the plan for the model's own dimensions. ConfigInvalid says what does not fit, and what would.

    The operator that made the configuration knew only the models of its table, and may be of another version. So the
    plan is made anew. `ipus` is the size of the partition, or None where it is not known.
    """
    layout = _lay_out(spec, ipus, dimensions) if accelerator == "ipu" else None
    return TrainingPlan(run_plan.make_schedule(spec.training, accelerator, layout), layout)


def _lay_out(spec: WhisperFineTuneSpec, ipus: Optional[int], dimensions: Dimensions) -> IpuPlan:
    try:
        size = ipus or spec.ipus or ipu_planning.smallest_partition(dimensions, spec.ipu_config)
        return ipu_planning.make_ipu_plan(spec.model, dimensions, size, spec.training, spec.ipu_config)
    except IpuPlanError as error:
        raise TrainerError("ConfigInvalid", str(error)) from None


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
    #: How many CPUs this process may use.
    cpus: int
    #: How much memory it may use, where there is a limit.
    memory_bytes: Optional[int] = None

    @property
    def devices(self) -> int:
        """How many IPUs, GPUs or CPUs the trainer uses."""
        if self.ipu_plan is not None:
            return self.ipu_plan.ipus
        return self.cpus if self.accelerator == "cpu" else 1

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

    def recording_transcriber(self) -> Union[TranscribeRecordings, NoTranscription]:
        """Return what transcribes recordings of minutes with the model as it then is, or why nothing does."""

    def train(self, first_step: int, after_step: AfterStep) -> None:
        """Take the optimizer steps after `first_step`, to the schedule's end or until `after_step` returns False.

        `after_step` may call all other methods.
        """

    def gather_weights(self) -> None:
        """Copy the weights as they are now into the loaded model's network, from which they are saved."""

    def take_weights(self) -> None:
        """Hear from now on with the weights that the loaded model's network has, once the training is over."""

    def state(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """Return tensors by name and JSON values, from which `load_state` goes on bit for bit.

        The tensors are live: write them before the next step.
        """

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
