"""AdamW with a warm-up and a linear schedule, which is the default of transformers' Trainer, and its state."""

import math
from typing import Any, Dict, List, Mapping, Tuple

import torch

from whisper_finetune_api.run import Schedule
from whisper_finetune_trainer.messages.errors import TrainerError

_LARGEST_GRADIENT_NORM = 1.0
_WEIGHTS, _FIRST, _SECOND = "weights/", "first_moment/", "second_moment/"


def learning_rate(step: int, schedule: Schedule) -> float:
    """Return the rate of a step, counted from 1. It rises from zero in the warm-up, and falls to zero at the end."""
    done = step - 1
    if done < schedule.warmup_steps:
        return schedule.learning_rate * done / schedule.warmup_steps
    return schedule.learning_rate * (schedule.steps - done) / max(1, schedule.steps - schedule.warmup_steps)


class Optimizer:
    """AdamW over a network's trainable weights."""

    def __init__(self, network: Any) -> None:
        """The weights that have `requires_grad` now are trained."""
        self._weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self._adamw = torch.optim.AdamW(self._weights.values(), weight_decay=0.0, fused=True)
        self._steps = 0

    def step(self, rate: float) -> None:
        """Apply the gradients and clear them. Raises TrainingDiverged, before any change, if they are not finite."""
        for weight in self._weights.values():
            if weight.grad is None:
                # The layer was dropped in this step. Its moments must have the same number of steps as all others.
                weight.grad = torch.zeros_like(weight)
        norm = torch.nn.utils.clip_grad_norm_(self._weights.values(), _LARGEST_GRADIENT_NORM)
        if not math.isfinite(norm):
            raise TrainerError("TrainingDiverged", f"the gradient's norm is {norm.item()}; lower training.learningRate")
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        self._adamw.zero_grad()
        self._steps += 1

    def clear_gradients(self) -> None:
        """Forget the gradients, and give back their memory."""
        self._adamw.zero_grad()

    def room_for_moments(self) -> List[torch.Tensor]:
        """Return tensors that take the memory of the moments, which the first step makes. Later there are none."""
        return [] if self._steps else [torch.empty_like(weight) for weight in self._weights.values() for _ in range(2)]

    def state(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """Return the trained weights and both moments, which are not copied, and the number of steps."""
        tensors = {f"{_WEIGHTS}{name}": weight.detach() for name, weight in self._weights.items()}
        for name, weight in self._weights.items() if self._steps else ():
            tensors[f"{_FIRST}{name}"] = self._adamw.state[weight]["exp_avg"]
            tensors[f"{_SECOND}{name}"] = self._adamw.state[weight]["exp_avg_sq"]
        return tensors, {"steps": self._steps}

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what `state` returned. Raises ConfigInvalid if it belongs to another network."""
        stored = {name[len(_WEIGHTS) :] for name in tensors if name.startswith(_WEIGHTS)}
        if stored != set(self._weights):
            raise TrainerError("ConfigInvalid", "the checkpoint holds other weights than this run trains")
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(tensors[f"{_WEIGHTS}{name}"])
        self._steps = int(values["steps"])
        if self._steps:
            self._adamw.load_state_dict(self._adamw_state(tensors))

    def _adamw_state(self, tensors: Mapping[str, torch.Tensor]) -> Dict[str, Any]:
        moments: List[Dict[str, torch.Tensor]] = [
            {
                "step": torch.tensor(float(self._steps)),
                "exp_avg": tensors[f"{_FIRST}{name}"].clone(),
                "exp_avg_sq": tensors[f"{_SECOND}{name}"].clone(),
            }
            for name in self._weights
        ]
        return {"state": dict(enumerate(moments)), "param_groups": self._adamw.state_dict()["param_groups"]}
