"""What compilation finds out about a model (shapes, blocks and IPUs), and what it refuses."""

import math
from dataclasses import dataclass
from typing import Any, List, Tuple

import torch

from poptorch import batches, tensor_trees
from poptorch.blocks import Blocks, ipus_per_replica, pipeline_stages
from poptorch.device import Device
from poptorch.errors import Error
from poptorch.optim import Optimizer
from poptorch.options import Options, PipelinedExecution

Shapes = List[Tuple[Tuple[int, ...], torch.dtype]]


@dataclass(frozen=True)
class Graph:
    """One model as it was compiled."""

    model: str
    precision: str
    tensors: Shapes
    inputs: Shapes
    blocks: Blocks
    pipeline_stages: int
    ipus: int
    training: bool
    replicas: int
    iterations: int
    accumulation: int


def traced(device: Device, inputs: Any, options: Options, *, training: bool) -> Graph:
    """Return what a trial run of the first micro-batch shows; refuse what does not fill the pipeline or its IPUs."""
    blocks = device.trial_run(batches.micro_batches(inputs, options)[0])
    stages = pipeline_stages(blocks, training=training)
    if isinstance(options.execution_strategy, PipelinedExecution):
        _require_full_pipeline(stages, options, training=training)
    return Graph(
        model=type(device.module).__name__,
        precision="float16" if device.half else "float32",
        tensors=_shapes_of(device.module.state_dict()),
        inputs=_shapes_of(inputs),
        blocks=blocks,
        pipeline_stages=stages,
        ipus=_rounded(ipus_per_replica(blocks) * options.replication_factor, options),
        training=training,
        replicas=options.replication_factor,
        iterations=options.device_iterations,
        accumulation=options.Training.gradient_accumulation,
    )


def _require_full_pipeline(stages: int, options: Options, *, training: bool) -> None:
    option, value = "deviceIterations", options.device_iterations
    if training:
        option, value = "Training.gradientAccumulation", options.Training.gradient_accumulation
    if value < stages:
        raise Error(
            f"poptorch.Options().{option} must be greater than or equal to the number of pipeline stages ({stages}) "
            "when using poptorch.PipelinedExecution."
        )


def _rounded(ipus: int, options: Options) -> int:
    rounded: int = 2 ** math.ceil(math.log2(ipus))
    if rounded != ipus and not options.auto_round_num_ipus:
        raise Error(
            f"The model specifies the use of {ipus} IPUs, however PopTorch must reserve a minimum of {rounded} in "
            "order to allow the model to run. Please reconfigure your model to use a different number of IPUs or set "
            "poptorch.Options().autoRoundNumIPUs(True)."
        )
    return rounded


def require_same_shapes(graph: Graph, inputs: Any) -> None:
    """Refuse inputs of other shapes or types than those that were compiled."""
    shapes = _shapes_of(inputs)
    if shapes != graph.inputs:
        raise Error(f"Input shapes or types changed after compilation: {graph.inputs} -> {shapes}")


def named_groups(model: torch.nn.Module, optimizer: Optimizer) -> List[List[str]]:
    """Return the names of the parameters in each of an optimizer's groups; refuse another model's."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    try:
        return [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]
    except KeyError:
        raise Error("an optimizer parameter is not a parameter of the model") from None


def _shapes_of(tree: Any) -> Shapes:
    return [(tuple(tensor.shape), tensor.dtype) for tensor in tensor_trees.tensors_of(tree)]
