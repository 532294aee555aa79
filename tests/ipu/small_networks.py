"""Networks of a few weights, laid out on emulated IPUs."""

from typing import Any, Optional, Tuple

import poptorch
import torch
from torch import nn

FEATURES = 4


class Chain(nn.Module):
    """Linear layers one after the other, one on each of `ipus`, and the mean square of what comes out as loss."""

    def __init__(self, ipus: Tuple[int, ...] = (0, 1)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(FEATURES, FEATURES) for _ in ipus)
        for layer, ipu in zip(self.layers, ipus):
            poptorch.BeginBlock(layer, f"layer on {ipu}", ipu_id=ipu)

    def forward(self, inputs: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs.square().mean(), inputs


class RebindingCounter(nn.Module):
    """Counts in a buffer by binding it to a new tensor, which PopTorch refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.count = self.count + 1
        return inputs + self.count


def options(*, accumulation: int = 3, replicas: int = 1) -> poptorch.Options:
    """Return options under which Chain's three stages fit."""
    made = poptorch.Options().replicationFactor(replicas).autoRoundNumIPUs(True)
    made.Training.gradientAccumulation(accumulation)
    return made


def training(network: Optional[nn.Module] = None, **settings: int) -> Any:
    """Return the network as it trains with plain SGD of rate 1."""
    network = network or Chain()
    return poptorch.trainingModel(network, options(**settings), poptorch.optim.SGD(network.parameters(), lr=1.0))


def inference(network: Optional[nn.Module] = None) -> Any:
    """Return the network as it infers, its blocks one after the other."""
    made = poptorch.Options().setExecutionStrategy(poptorch.ShardedExecution(poptorch.AutoStage.AutoIncrement))
    return poptorch.inferenceModel(network or Chain(), made.autoRoundNumIPUs())


def rows(count: int) -> torch.Tensor:
    """Return a batch of so many rows."""
    return torch.arange(count * FEATURES, dtype=torch.float32).reshape(count, FEATURES) / 10
