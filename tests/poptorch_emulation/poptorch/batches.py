"""How PopTorch divides a batch into micro-batches, and what it returns of their outputs."""

from typing import Any, List, Sequence, Tuple

import torch

from poptorch import tensor_trees
from poptorch.enums import OutputMode
from poptorch.options import Options


def parts_per_batch(options: Options) -> int:
    """Return into how many micro-batches one call's batch is cut."""
    return options.device_iterations * options.replication_factor * options.Training.gradient_accumulation


def micro_batches(tree: Any, options: Options) -> List[Any]:
    """Return the micro-batches in the order of device iteration, accumulation, replica; refuse what does not divide."""
    count = parts_per_batch(options)
    for tensor in tensor_trees.tensors_of(tree):
        _require_divisible(tensor, count, options)
    return [
        tensor_trees.changed(tree, lambda tensor, place=place: _part(tensor, place, count)) for place in range(count)
    ]


def _require_divisible(tensor: torch.Tensor, count: int, options: Options) -> None:
    size = tensor.shape[0] if tensor.dim() else 1
    if size % count:
        raise AssertionError(
            f"Invalid batch dimension: In the input {tuple(tensor.shape)}, the batch dimension ({size}) must be a "
            f"multiple of Options.deviceIterations({options.device_iterations}) * Options.replicationFactor"
            f"({options.replication_factor}) * Options.Training.gradientAccumulation"
            f"({options.Training.gradient_accumulation}) = {count} because it is used to calculate the batch size "
            "which will be executed on the device in any given iteration."
        )


def _part(tensor: torch.Tensor, place: int, count: int) -> torch.Tensor:
    if not tensor.dim():
        return tensor
    size = tensor.shape[0] // count
    return tensor.narrow(0, place * size, size)


def collected(outputs: Sequence[Any], options: Options) -> Any:
    """Return what the host gets: of the last micro-batches (Final), of all (All), or sums for each replica (Sum)."""
    replicas = options.replication_factor
    if options.output_mode == OutputMode.Final:
        outputs = outputs[-replicas:]
    columns = zip(*(list(tensor_trees.tensors_of(output)) for output in outputs))
    joined = iter([_joined(column, options.output_mode, replicas) for column in columns])
    return tensor_trees.changed(outputs[-1], lambda _: next(joined))


def _joined(column: Tuple[torch.Tensor, ...], mode: OutputMode, replicas: int) -> torch.Tensor:
    pieces = list(column)
    if mode == OutputMode.Sum:
        pieces = [torch.stack(pieces[replica::replicas]).sum(0) for replica in range(replicas)]
    if pieces[0].dim():
        return _as_on_ipu(torch.cat(pieces, 0))
    return _as_on_ipu(torch.stack(pieces) if len(pieces) > 1 else pieces[0])


def _as_on_ipu(tensor: torch.Tensor) -> torch.Tensor:
    """An IPU has no 64-bit numbers."""
    narrower = {torch.long: torch.int, torch.double: torch.float}
    return tensor.to(narrower.get(tensor.dtype, tensor.dtype))
