"""PopTorch's operators. On a CPU an annotation is the identity, and a serialized product is a product."""

from typing import Any, Callable, List, Optional, Tuple, Union

import torch
from typing_extensions import Self

from poptorch.enums import MatMulSerializationMode


class Attribute:
    """A scope of attributes for Poplar's compiler: remembered, of no effect."""

    def __init__(self, **attributes: Any) -> None:
        self.attributes = attributes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return


def recomputationCheckpoint(*tensors: Any) -> Any:
    """Return the tensors as they are; refuse anything else."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        return type(tensors[0])(recomputationCheckpoint(*tensors[0]))
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise ValueError("All inputs must be tensors")
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def serializedMatMul(
    lhs: torch.Tensor,
    rhs: torch.Tensor,
    mode: MatMulSerializationMode,
    factor: int = 0,
    keep_precision: bool = False,
) -> torch.Tensor:
    """Return the product of [..., m, k] and [k, n]; refuse a factor that does not divide the serialized dimension."""
    if not isinstance(mode, MatMulSerializationMode):
        raise TypeError("mode must be a MatMulSerializationMode")
    dimension = {
        MatMulSerializationMode.InputChannels: lhs.shape[-2],
        MatMulSerializationMode.ReducingDim: rhs.shape[-2],
        MatMulSerializationMode.OutputChannels: rhs.shape[-1],
    }.get(mode, 0)
    if factor and dimension % factor:
        raise RuntimeError(f"serialization factor {factor} does not divide {dimension}")
    return torch.matmul(lhs, rhs)


def dynamic_slice(tensor: torch.Tensor, dim: int, start: torch.Tensor, size: int, step: int) -> torch.Tensor:
    """Return `size` entries from `start`, which is known on the device alone; out of range is an error."""
    piece = tensor.narrow(dim, _first(start), size)
    return piece[(slice(None),) * dim + (slice(None, None, step),)]


def dynamic_update(
    input: torch.Tensor,  # noqa: A002 -- PopTorch's signature
    src: torch.Tensor,
    dim: int,
    start: torch.Tensor,
    size: int,
) -> torch.Tensor:
    """Return a copy of `input` with `src` from `start` on; refuse another rank or type, or a place out of range."""
    if input.dim() != src.dim() or input.dtype != src.dtype:
        raise RuntimeError("dynamic_update: input and src must agree in rank and type")
    updated = input.clone()
    updated.narrow(dim, _first(start), size).copy_(src)
    return updated


def _first(tensor: torch.Tensor) -> int:
    return int(tensor.reshape(-1)[0])


Branch = Callable[..., Union[torch.Tensor, Tuple[torch.Tensor, ...]]]


def cond(
    condition: torch.Tensor,
    then_body: Branch,
    then_inps: List[torch.Tensor],
    else_body: Branch,
    else_inps: List[torch.Tensor],
) -> List[torch.Tensor]:
    """Return the outputs of one of two branches."""
    if not isinstance(then_inps, list) or not isinstance(else_inps, list):
        raise ValueError("poptorch.cond expects lists of tensors")  # noqa: TRY004 -- what PopTorch raises
    outputs = then_body(*then_inps) if bool(condition) else else_body(*else_inps)
    return [outputs] if isinstance(outputs, torch.Tensor) else [*outputs]


def identity_loss(x: torch.Tensor, reduction: str) -> torch.Tensor:
    """Return the sum, the mean or the tensor itself."""
    reductions = {"sum": torch.sum, "mean": torch.mean, "none": lambda tensor: tensor}
    return reductions[reduction](x)


def nop(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor."""
    return tensor


def custom_op(*arguments: Any, **keywords: Any) -> Optional[List[torch.Tensor]]:
    """Refuse: an operator written for the IPU has nothing to stand in for it."""
    raise NotImplementedError("custom IPU operators are not emulated")
