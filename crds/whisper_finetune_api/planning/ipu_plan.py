"""One layout of a Whisper model on a partition of IPUs, and why a layout is refused before a pod exists. Pure.

The names are those of optimum-graphcore's IPUConfig. Each refusal gives the numbers, and what would fit instead.
"""

from typing import Any, Callable, Dict, Optional, Tuple

from pydantic import Field

from whisper_finetune_api.planning import ipu_layout
from whisper_finetune_api.planning.model_dimensions import CANTONESE_VOCABULARY, Dimensions
from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_api.v1alpha1.api_model import ApiModel


class IpuPlan(ApiModel):
    """One replica's layout and how often it is repeated. The names are those of IPUConfig."""

    ipus: int = Field(description="Of the partition.")
    ipus_per_replica: int
    replication_factor: int
    micro_batch_size: int
    gradient_accumulation_steps: int
    layers_per_ipu: Tuple[int, ...]
    matmul_proportion: Tuple[float, ...]
    projection_serialization_factor: int
    optimizer_state_offchip: bool
    recompute_checkpoint_every_layer: bool
    enable_half_partials: bool
    inference_layers_per_ipu: Tuple[int, ...]
    inference_projection_serialization_factor: Optional[int] = None
    on_device_generation_steps: int
    bytes_per_ipu: Tuple[int, ...] = Field(description="Estimate of what training needs of each IPU's memory.")
    warnings: Tuple[str, ...] = ()

    def ipu_config(self) -> Dict[str, Any]:
        """Return the argument of IPUConfig.from_dict, without the cache of executables."""
        generation: Dict[str, Any] = {"use_cache": True, "use_encoder_output_buffer": True}
        if self.on_device_generation_steps:
            generation["on_device_generation_steps"] = self.on_device_generation_steps
        values: Dict[str, Any] = {
            "optimizer_state_offchip": self.optimizer_state_offchip,
            "recompute_checkpoint_every_layer": self.recompute_checkpoint_every_layer,
            "enable_half_partials": self.enable_half_partials,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "replication_factor": self.replication_factor,
            "layers_per_ipu": list(self.layers_per_ipu),
            "matmul_proportion": list(self.matmul_proportion),
            "projection_serialization_factor": self.projection_serialization_factor,
            # Replicated generation and its buffer of encoder outputs exclude each other.
            "inference_replication_factor": 1,
            "inference_layers_per_ipu": list(self.inference_layers_per_ipu),
            "inference_parallelize_kwargs": generation,
        }
        if self.inference_projection_serialization_factor is not None:
            values["inference_projection_serialization_factor"] = self.inference_projection_serialization_factor
        return values


class IpuPlanError(ValueError):
    """The spec asks for what is impossible. The text is for the user."""


def refuse_cantonese(model: str, dimensions: Dimensions) -> None:
    """Raise IpuPlanError for the models that know Cantonese: large-v3 and its derivatives."""
    if dimensions.vocabulary == CANTONESE_VOCABULARY:
        raise IpuPlanError(
            f"{model}: its vocabulary of {dimensions.vocabulary} = 2 x 25933 cannot be serialized on IPUs, and the IPU "
            "software counts its languages wrong; take openai/whisper-large-v2, or a runtime with GPUs"
        )


def refuse_impossible_plan(model: str, dimensions: Dimensions, plan: IpuPlan, training: Training) -> None:
    """Raise IpuPlanError with every fault of the plan that does not follow from another fault."""
    asked = (model, dimensions, plan, training)
    for rules in (_FIRST, _SECOND):
        faults = [fault for fault in (rule(*asked) for rule in rules) if fault]
        if faults:
            raise IpuPlanError("; ".join(faults))


def _layer_count(model: str, dimensions: Dimensions, plan: IpuPlan, _: Training) -> Optional[str]:
    placed, has = sum(plan.layers_per_ipu), dimensions.encoder_layers + dimensions.decoder_layers
    if placed == has:
        return None
    return (
        f"ipuConfig.layersPerIpu {list(plan.layers_per_ipu)} places {placed} layers, and {model} has {has} "
        f"({dimensions.encoder_layers} of the encoder, {dimensions.decoder_layers} of the decoder)"
    )


def _inference_layer_count(model: str, dimensions: Dimensions, plan: IpuPlan, _: Training) -> Optional[str]:
    layers = plan.inference_layers_per_ipu
    encoder, decoder = dimensions.encoder_layers, dimensions.decoder_layers
    ipus = ipu_layout.encoder_ipus(layers, encoder)
    if sum(layers) == encoder + decoder and ipu_layout.is_partition_size(ipus):
        return None
    return (
        f"ipuConfig.inferenceLayersPerIpu {list(layers)} must place the {encoder} encoder layers of {model} on the "
        f"first IPUs, 1, 2 or another power of two of them, and the {decoder} decoder layers on the others"
    )


def _replica_size(_model: str, _dimensions: Dimensions, plan: IpuPlan, _: Training) -> Optional[str]:
    if ipu_layout.is_partition_size(plan.ipus_per_replica):
        return None
    return f"ipuConfig.layersPerIpu names {plan.ipus_per_replica} IPUs, and a replica has 1, 2, 4, 8, 16, 32 or 64"


def _proportions(_model: str, _dimensions: Dimensions, plan: IpuPlan, _: Training) -> Optional[str]:
    given = len(plan.matmul_proportion)
    if given == plan.ipus_per_replica:
        return None
    return f"ipuConfig.matmulProportion has {given} values, and a replica has {plan.ipus_per_replica} IPUs"


def _projection(model: str, dimensions: Dimensions, plan: IpuPlan, _: Training) -> Optional[str]:
    factors = {
        "projectionSerializationFactor": plan.projection_serialization_factor,
        "inferenceProjectionSerializationFactor": plan.inference_projection_serialization_factor or 1,
    }
    wrong = [f"{name} {factor}" for name, factor in factors.items() if dimensions.vocabulary % factor]
    if not wrong:
        return None
    return f"ipuConfig.{' and '.join(wrong)} must divide the vocabulary of {model}, {dimensions.vocabulary}"


def _batch(_model: str, _dimensions: Dimensions, plan: IpuPlan, training: Training) -> Optional[str]:
    steps = plan.gradient_accumulation_steps
    if steps * plan.micro_batch_size == training.batch_size:
        return None
    return (
        f"training.batchSize {training.batch_size} is not a multiple of ipuConfig.gradientAccumulationSteps {steps}: "
        "it is the micro-batch times that"
    )


def _micro_batch(_model: str, _dimensions: Dimensions, _plan: IpuPlan, training: Training) -> Optional[str]:
    if training.micro_batch_size is not None:
        return (
            "training.microBatchSize is for GPUs and CPUs: on IPUs it is training.batchSize divided by "
            "ipuConfig.gradientAccumulationSteps"
        )
    if training.gradient_checkpointing is not None:
        return (
            "training.gradientCheckpointing is for GPUs and CPUs: on IPUs set ipuConfig.recomputeCheckpointEveryLayer"
        )
    if training.window == "Fitted":
        return "training.window: Fitted is for GPUs and CPUs: IPUs hear every clip in 30 s; leave training.window out"
    return None


def _partition_size(model: str, _dimensions: Dimensions, plan: IpuPlan, _: Training) -> Optional[str]:
    transcribing = len(plan.inference_layers_per_ipu)
    smallest = ipu_layout.partition_size_for(max(plan.ipus_per_replica, transcribing))
    if plan.ipus >= smallest:
        return None
    return (
        f"{model} needs {plan.ipus_per_replica} IPUs to train (layers {list(plan.layers_per_ipu)}) and {transcribing} "
        f"to transcribe; ipus is {plan.ipus}, the smallest that fits is {smallest}"
    )


def _accumulation(_model: str, dimensions: Dimensions, plan: IpuPlan, _: Training) -> Optional[str]:
    stages = ipu_layout.pipeline_stages(plan.layers_per_ipu, dimensions.encoder_layers)
    steps = plan.gradient_accumulation_steps
    if steps >= stages:
        return None
    return (
        f"layers {list(plan.layers_per_ipu)} make a pipeline of {stages} stages, and gradient accumulation is {steps}; "
        f"set training.batchSize to {stages} or more"
    )


def _generation_steps(_model: str, _dimensions: Dimensions, plan: IpuPlan, training: Training) -> Optional[str]:
    steps = plan.on_device_generation_steps
    if steps < training.max_label_tokens:
        return None
    return (
        f"ipuConfig.onDeviceGenerationSteps {steps} must be below training.maxLabelTokens {training.max_label_tokens}"
    )


_Rule = Callable[[str, Dimensions, IpuPlan, Training], Optional[str]]
_FIRST: Tuple[_Rule, ...] = (
    _layer_count,
    _inference_layer_count,
    _replica_size,
    _proportions,
    _projection,
    _batch,
    _micro_batch,
)
#: These are checked only where the layers fit.
_SECOND: Tuple[_Rule, ...] = (_partition_size, _accumulation, _generation_steps)
