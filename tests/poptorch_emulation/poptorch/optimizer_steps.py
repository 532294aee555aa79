"""One step of an optimizer on the device's parameters, in float32, with moments of the given types."""

from typing import Any, Dict, Mapping

import torch

from poptorch import optim

#: Each parameter's moments, by PopART's names.
Moments = Dict[str, Dict[str, torch.Tensor]]


def new_value(
    optimizer: optim.Optimizer,
    group: Mapping[str, Any],
    weight: torch.Tensor,
    gradient: torch.Tensor,
    moments: Dict[str, torch.Tensor],
    step: int,
) -> torch.Tensor:
    """Return a parameter's value (float32) after step number `step` (from 1); the moments change in place."""
    if isinstance(optimizer, optim.SGD):
        return weight - group["lr"] * gradient
    decay = group["weight_decay"] * weight
    if not optimizer.decoupled_weight_decay:
        gradient = gradient + decay
    update = _normalized(optimizer, group, gradient, moments, step)
    return weight - group["lr"] * (update + decay if optimizer.decoupled_weight_decay else update)


def _normalized(
    optimizer: Any, group: Mapping[str, Any], gradient: torch.Tensor, moments: Dict[str, torch.Tensor], step: int
) -> torch.Tensor:
    if not moments:
        moments["Accl1"] = torch.zeros_like(gradient, dtype=optimizer.first_moment_type)
        moments["Accl2"] = torch.zeros_like(gradient, dtype=optimizer.second_moment_type)
    decays = group["betas"]
    first = decays[0] * moments["Accl1"].float() + (1 - decays[0]) * gradient
    second = decays[1] * moments["Accl2"].float() + (1 - decays[1]) * gradient * gradient
    moments["Accl1"].copy_(first)
    moments["Accl2"].copy_(second)
    if optimizer.bias_correction:
        first, second = first / (1 - decays[0] ** step), second / (1 - decays[1] ** step)
    return first / (second.sqrt() + group["eps"])
