"""Lay a Whisper model out on a partition of IPUs, given its dimensions, the size and the spec. Pure.

The layout of whisper-small on 4 IPUs is that of Graphcore's notebook. Every other one follows from the same rules.
"""

from typing import Optional, Sequence, Tuple

from whisper_finetune_api.planning import ipu_layout, ipu_plan, training_memory
from whisper_finetune_api.planning.ipu_plan import IpuPlan, IpuPlanError
from whisper_finetune_api.planning.model_dimensions import Dimensions
from whisper_finetune_api.v1alpha1 import IpuConfig, Training

#: Weights and gradients in float16 take at most this much of an IPU. With it whisper-small needs the notebook's 4 IPUs.
_BYTES_FOR_WEIGHTS = 600_000_000
_HALF_BYTES, _FLOAT_BYTES = 2, 4
#: Up to this width Graphcore's settings for whisper-tiny apply: nothing is computed twice, and all products get 0.6.
_TINY_WIDTH = 384
_ENCODER_PROPORTION, _DECODER_PROPORTION = 0.2, 0.6
_PROJECTION_FACTORS = range(5, 65)
_GENERATION_STEPS = 16
_PROVEN_LAYERS = 12
_PROVEN_REPLICAS = 4


def make_ipu_plan(
    model: str, dimensions: Dimensions, ipus: int, training: Training, overrides: Optional[IpuConfig] = None
) -> IpuPlan:
    """Return the plan. `model` is for messages alone.

    Raises IpuPlanError with the numbers that make it impossible, and what would fit instead.
    """
    ipu_plan.refuse_cantonese(model, dimensions)
    wanted = overrides or IpuConfig()
    layers = wanted.layers_per_ipu or _training_layers(dimensions)
    plan = IpuPlan(
        ipus=ipus,
        ipus_per_replica=len(layers),
        replication_factor=max(1, ipus // len(layers)),
        micro_batch_size=max(1, training.batch_size // (wanted.gradient_accumulation_steps or training.batch_size)),
        gradient_accumulation_steps=wanted.gradient_accumulation_steps or training.batch_size,
        layers_per_ipu=layers,
        matmul_proportion=_matmul_proportion(wanted, layers, dimensions),
        projection_serialization_factor=wanted.projection_serialization_factor or _projection_factor(model, dimensions),
        optimizer_state_offchip=wanted.optimizer_state_offchip is not False,
        recompute_checkpoint_every_layer=dimensions.width > _TINY_WIDTH
        if wanted.recompute_checkpoint_every_layer is None
        else wanted.recompute_checkpoint_every_layer,
        enable_half_partials=wanted.enable_half_partials is not False,
        inference_layers_per_ipu=wanted.inference_layers_per_ipu or _inference_layers(dimensions),
        inference_projection_serialization_factor=wanted.inference_projection_serialization_factor,
        on_device_generation_steps=_GENERATION_STEPS
        if wanted.on_device_generation_steps is None
        else wanted.on_device_generation_steps,
        bytes_per_ipu=(),
    )
    ipu_plan.refuse_impossible_plan(model, dimensions, plan, training)
    needed = training_memory.bytes_per_ipu(layers, dimensions, _memory_factors(plan, training))
    complete = plan.model_copy(update={"bytes_per_ipu": needed})
    return complete.model_copy(update={"warnings": _warnings(model, dimensions, complete)})


def smallest_partition(dimensions: Dimensions, overrides: Optional[IpuConfig] = None) -> int:
    """Return the fewest IPUs on which one replica trains and transcribes."""
    wanted = overrides or IpuConfig()
    training = len(wanted.layers_per_ipu or _training_layers(dimensions))
    transcribing = len(wanted.inference_layers_per_ipu or _inference_layers(dimensions))
    return ipu_layout.partition_size_for(max(training, transcribing))


def _training_layers(dimensions: Dimensions) -> Tuple[int, ...]:
    return _fitting_layers(dimensions, 2 * _HALF_BYTES)


def _inference_layers(dimensions: Dimensions) -> Tuple[int, ...]:
    return _fitting_layers(dimensions, _HALF_BYTES)


def _fitting_layers(dimensions: Dimensions, bytes_of_parameter: int) -> Tuple[int, ...]:
    """Return the layout on the fewest IPUs that fit with so many bytes for each weight, or on the largest number."""
    found: Tuple[int, ...] = ()
    for ipus in ipu_layout.PARTITION_SIZES[1:]:
        if ipus // 2 > min(dimensions.encoder_layers, dimensions.decoder_layers):
            break
        found = ipu_layout.spread_layers(dimensions.encoder_layers, dimensions.decoder_layers, ipus)
        shares = ipu_layout.shares_of_ipus(found, dimensions)
        fullest = max(sum(training_memory.parameters_of_share(share, dimensions)) for share in shares)
        if fullest * bytes_of_parameter <= _BYTES_FOR_WEIGHTS:
            break
    return found


def _matmul_proportion(wanted: IpuConfig, layers: Sequence[int], dimensions: Dimensions) -> Tuple[float, ...]:
    if wanted.matmul_proportion is not None:
        return tuple(float(proportion) for proportion in wanted.matmul_proportion)
    if dimensions.width <= _TINY_WIDTH:
        return (_DECODER_PROPORTION,) * len(layers)
    if sum(layers) != dimensions.encoder_layers + dimensions.decoder_layers:
        return (_ENCODER_PROPORTION,) * len(layers)  # refused for its layers
    decoder = ipu_layout.first_decoder_ipu(layers, dimensions.encoder_layers)
    return (_ENCODER_PROPORTION,) * decoder + (_DECODER_PROPORTION,) * (len(layers) - decoder)


def _projection_factor(model: str, dimensions: Dimensions) -> int:
    """Return 5, as in Graphcore's notebook, where it divides the vocabulary, else the next number that does."""
    factor = next((number for number in _PROJECTION_FACTORS if dimensions.vocabulary % number == 0), None)
    if factor is not None:
        return factor
    raise IpuPlanError(
        f"{model}: no number from {_PROJECTION_FACTORS[0]} to {_PROJECTION_FACTORS[-1]} divides its vocabulary of "
        f"{dimensions.vocabulary}, so that its projection cannot be serialized; take another model"
    )


def _memory_factors(plan: IpuPlan, training: Training) -> training_memory.IpuMemoryFactors:
    return training_memory.IpuMemoryFactors(
        float_bytes=_FLOAT_BYTES if training.precision == "Float" else _HALF_BYTES,
        trains_encoder=training.trainable == "All",
        optimizer_offchip=plan.optimizer_state_offchip,
        recompute=plan.recompute_checkpoint_every_layer,
        micro_batch_size=plan.micro_batch_size,
        label_tokens=training.max_label_tokens,
        projection_factor=plan.projection_serialization_factor,
    )


def _warnings(model: str, dimensions: Dimensions, plan: IpuPlan) -> Tuple[str, ...]:
    fullest = max(plan.bytes_per_ipu)
    index = plan.bytes_per_ipu.index(fullest)
    found = {
        f"IPU {index} of each replica is estimated to need {fullest // 10**6} MB of its "
        f"{training_memory.BYTES_OF_IPU // 10**6} MB; spread the layers over more IPUs with "
        "ipuConfig.layersPerIpu": fullest > training_memory.BYTES_OF_IPU,
        f"{model} on IPUs is experimental: nobody has published a fine-tune of more than "
        f"{_PROVEN_LAYERS} layers there": dimensions.decoder_layers > _PROVEN_LAYERS,
        f"{plan.replication_factor} replicas are untested: learning rate x {plan.replication_factor}, without "
        "clipping of gradients": plan.replication_factor > _PROVEN_REPLICAS,
    }
    return tuple(text for text, holds in found.items() if holds)
