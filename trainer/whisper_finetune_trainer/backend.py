"""What a backend does: transcribe, take optimizer steps, give and take its state. One per kind of accelerator."""

from typing import Any, Callable, Dict, Iterator, List, Mapping, Protocol, Sequence, Tuple

import torch

from whisper_finetune_api.v1alpha1.status import RanOn


class StepDone(Protocol):
    """One optimizer step; `loss` is finite, else the backend has raised TrainerError(TrainingDiverged)."""

    @property
    def step(self) -> int:
        """Number of the step, from 1."""

    @property
    def loss(self) -> float:
        """Mean loss over the step's clips."""

    @property
    def learning_rate(self) -> float:
        """The rate that the step was taken with."""


class Backend(Protocol):
    """A model that learns from the run's clips."""

    @property
    def ran_on(self) -> RanOn:
        """Hardware, library versions and precision that are really used."""

    def transcribe(self, clips: Sequence[Any], on_clip: Callable[[int], None]) -> List[str]:
        """Return one text per clip, in order; `on_clip` is told how many are done."""

    def steps(self, first_step: int) -> Iterator[StepDone]:
        """Take the optimizer steps `first_step` + 1, ... of the schedule; between two of them nothing is pending."""

    def state(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """Return tensors (live ones: write them before the next step) and JSON values to go on from bit for bit."""

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Become what `state` returned."""
