"""The optimizer's state comes back, also for weights that steps left without a gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from whisper_finetune_trainer.pytorch import optimization


def _with_a_dropped_layer(steps: Sequence[bool], resumed_at: int | None = None) -> dict[str, torch.Tensor]:
    """Return the weights after steps, of which some leave a layer out; resumed in the middle where that is said."""
    torch.manual_seed(0)
    network = torch.nn.ModuleDict({"always": torch.nn.Linear(2, 2), "dropped": torch.nn.Linear(2, 2)})
    optimizer = optimization.Optimizer(network)
    for step, is_whole in enumerate(steps):
        if step == resumed_at:
            tensors, values = optimizer.state()
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
            optimizer = optimization.Optimizer(network)
            optimizer.load_state(tensors, values)
        heard = network["always"](torch.ones(2))
        (network["dropped"](heard) if is_whole else heard).square().sum().backward()
        optimizer.step(0.1)
    return {name: weight.detach() for name, weight in network.named_parameters()}


def test_a_layer_that_was_dropped_so_far_is_resumed_too() -> None:
    straight = _with_a_dropped_layer([False, True, False, True])
    for step in (1, 2, 3):
        resumed = _with_a_dropped_layer([False, True, False, True], resumed_at=step)
        assert all(torch.equal(straight[name], resumed[name]) for name in straight)
