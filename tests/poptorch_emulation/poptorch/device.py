"""The device: a copy of the host's module, and only the copy computes. Weights cross where PopTorch moves them.

float16 values are rounded to float16 and computed in float32, because torch 2.0 has no float16 kernels for a CPU.
"""

import contextlib
import copy
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

import torch

from poptorch import optim, optimizer_steps, tensor_trees
from poptorch.blocks import Blocks, recording
from poptorch.enums import ReductionType
from poptorch.errors import Error
from poptorch.options import Options


def _named_tensors(module: torch.nn.Module) -> Iterator[Tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


#: Of float32's 23 bits of mantissa float16 keeps ten.
_DROPPED_BITS = 13


def stochastically_rounded(tensor: torch.Tensor) -> torch.Tensor:
    """Round to float16, up or down by chance, the nearer the likelier; below its normal range to the nearest."""
    bits = tensor.contiguous().view(torch.int32)
    raised = bits + torch.randint(1 << _DROPPED_BITS, bits.shape, dtype=torch.int32)
    return (raised >> _DROPPED_BITS << _DROPPED_BITS).view(torch.float32).half()


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


@torch.no_grad()
def copy_tensors(source: torch.nn.Module, target: torch.nn.Module, names: Optional[Set[str]] = None) -> None:
    """Copy parameters and buffers of the same names, or some of them."""
    found = dict(_named_tensors(source))
    for name, tensor in _named_tensors(target):
        if name in found and (names is None or name in names):
            tensor.copy_(found[name])


class Device:
    """One executor's module, optimizer moments and replicas' buffers."""

    def __init__(self, host: torch.nn.Module, options: Options) -> None:
        self.options = options
        self.module = copy.deepcopy(host)
        self.half = {name for name, tensor in _named_tensors(self.module) if tensor.dtype == torch.float16}
        if self.half:
            self.module.float()
        self.moments: optimizer_steps.Moments = {}
        self.step = 0
        self._gradients: Dict[str, torch.Tensor] = {}
        self._buffers_of_replica: Dict[int, Dict[str, torch.Tensor]] = {}
        #: A device draws (for dropout, and to round) from generators of its own, whatever the host does with its.
        self.seed = int(options.values.get("random_seed", 0))
        self.random_state = torch.Generator().manual_seed(self.seed).get_state()

    @contextlib.contextmanager
    def _own_randomness(self) -> Iterator[None]:
        host = torch.random.get_rng_state()
        torch.random.set_rng_state(self.random_state)
        try:
            yield
        finally:
            self.random_state = torch.random.get_rng_state()
            torch.random.set_rng_state(host)

    def trial_run(self, inputs: Tuple[Any, Any]) -> Blocks:
        """Run once, as a compiler traces, and return the blocks; refuse that `forward` binds a buffer anew."""
        before = {name: (buffer, buffer.clone()) for name, buffer in self.module.named_buffers()}
        random_state = self.random_state
        with recording() as blocks:
            self.infer(inputs)
        self.random_state = random_state
        for name, buffer in self.module.named_buffers():
            if name in before and buffer.data_ptr() != before[name][0].data_ptr():
                raise Error(
                    f"Buffer {name} is reassigned within the model when calling the forward method. This is not "
                    "supported. Consider using self.<buffer>.copy_(src)"
                )
            if name in before:
                buffer.copy_(before[name][1])
        return blocks

    @torch.no_grad()
    def infer(self, inputs: Tuple[Any, Any], replica: int = 0) -> Any:
        """Return the outputs of one micro-batch; each replica keeps buffers of its own, as a cache of keys must."""
        arguments, keywords = tensor_trees.changed(inputs, _widened)
        for name, value in self._buffers_of_replica.get(replica, {}).items():
            self.module.get_buffer(name).copy_(value)
        with self._own_randomness():
            outputs = self.module(*arguments, **keywords)
        if self.options.replication_factor > 1:
            buffers = self.module.named_buffers()
            self._buffers_of_replica[replica] = {name: buffer.clone() for name, buffer in buffers}
        return outputs

    def accumulate(self, inputs: Tuple[Any, Any], optimizer: optim.Optimizer) -> Any:
        """Return the outputs of one micro-batch, and add its gradients to those of its step."""
        arguments, keywords = tensor_trees.changed(inputs, _widened)
        self.module.zero_grad(set_to_none=True)
        with self._own_randomness():
            outputs = self.module(*arguments, **keywords)
            (_loss_of(outputs) * optimizer.loss_scaling).backward()
        for name, parameter in self.module.named_parameters():
            if parameter.grad is not None:
                self._add(name, parameter.grad.float() / optimizer.loss_scaling, optimizer.accum_type)
        return tensor_trees.changed(outputs, torch.Tensor.detach)

    def _add(self, name: str, gradient: torch.Tensor, accumulated_type: torch.dtype) -> None:
        training = self.options.Training
        mean = training.reduction == ReductionType.Mean
        shares = training.gradient_accumulation * self.options.replication_factor if mean else 1
        part = (gradient / shares).to(accumulated_type)
        self._gradients[name] = self._gradients[name] + part if name in self._gradients else part

    @torch.no_grad()
    def update(self, optimizer: Any, names_of_groups: List[List[str]]) -> None:
        """Take one optimizer step with the gradients that were accumulated."""
        self.step += 1
        parameters = dict(self.module.named_parameters())
        for names, group in zip(names_of_groups, optimizer.param_groups):
            for name in filter(self._gradients.__contains__, names):
                moments = self.moments.setdefault(name, {})
                weight, gradient = parameters[name].float(), self._gradients[name].float()
                value = optimizer_steps.new_value(optimizer, group, weight, gradient, moments, self.step)
                parameters[name].copy_(self._rounded(value) if name in self.half else value)
        self._gradients = {}

    def _rounded(self, value: torch.Tensor) -> torch.Tensor:
        if not self.options.Precision.values.get("stochastic_rounding"):
            return value.half()
        with self._own_randomness():
            return stochastically_rounded(value)

    def state(self) -> Dict[str, Any]:
        """Return moments and step as PopTorch keeps them in an optimizer's state."""
        moments = {
            f"{kind}___{name}": value.clone() for name, kinds in self.moments.items() for kind, value in kinds.items()
        }
        return {"ipu_state": moments, "ipu_param": {"step": torch.tensor(float(self.step))}}

    def load_state(self, state: Dict[str, Any]) -> None:
        """Take moments and step from an optimizer's state."""
        self.moments = {}
        for key, value in state["ipu_state"].items():
            kind, name = key.split("___", 1)
            self.moments.setdefault(name, {})[kind] = value.clone()
        self.step = int(state["ipu_param"]["step"])


def _loss_of(outputs: Any) -> torch.Tensor:
    if isinstance(outputs, dict):
        return outputs["loss"]
    return outputs[0] if isinstance(outputs, tuple) else outputs
