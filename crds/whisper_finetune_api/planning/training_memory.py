"""Estimate how much memory a training needs on a GPU or CPU, and on each IPU. Estimates only warn. Pure.

On a GPU or CPU, weights, gradients, optimizer and activations are counted. On an IPU, weights, accumulated gradients,
the optimizer's state where it stays on the chip, stored activations and the largest of the other ones are counted. Code
and the buffers of the exchange are not, and nothing of this was calibrated on IPUs.
"""

from dataclasses import dataclass
from typing import Sequence, Tuple

from whisper_finetune_api.planning import ipu_layout
from whisper_finetune_api.planning.ipu_layout import Share
from whisper_finetune_api.planning.model_dimensions import AUDIO_POSITIONS, Dimensions
from whisper_finetune_api.v1alpha1 import Training

#: In-Processor-Memory of a GC200 and of a Bow IPU.
BYTES_OF_IPU = 900_000_000
_SECOND_MOMENT_BYTES = 4
#: Floats per position and unit of width that a layer on an IPU keeps until its gradient: attention and feed-forward.
_KEPT_PER_IPU_LAYER = 16
#: On a GPU or CPU everything is float32: a weight, its gradient, and AdamW's two moments.
_BYTES_OF_WEIGHT = 4
_BYTES_OF_TRAINED_WEIGHT = 4 + 4 + 4
#: Activations that the backward pass keeps on a GPU or CPU per layer and position, in floats per unit of width.
_KEPT_PER_LAYER = 34


@dataclass(frozen=True)
class IpuMemoryFactors:
    """What the estimate for IPUs needs besides the layout."""

    float_bytes: int
    trains_encoder: bool
    optimizer_offchip: bool
    recompute: bool
    micro_batch_size: int
    label_tokens: int
    projection_factor: int


def device_bytes(dimensions: Dimensions, trained_parameters: int, training: Training, micro_batch_size: int) -> int:
    """Return the estimate for a GPU or CPU, in bytes."""
    weights = dimensions.parameters * _BYTES_OF_WEIGHT + trained_parameters * _BYTES_OF_TRAINED_WEIGHT
    encoder_layers = dimensions.encoder_layers if training.trainable == "All" else 0
    positions = encoder_layers * AUDIO_POSITIONS + dimensions.decoder_layers * training.max_label_tokens
    logits = training.max_label_tokens * dimensions.vocabulary * 3
    return weights + micro_batch_size * _BYTES_OF_WEIGHT * (positions * dimensions.width * _KEPT_PER_LAYER + logits)


def parameters_of_share(share: Share, dimensions: Dimensions) -> Tuple[int, int]:
    """Return the weights of the encoder and of the decoder on one IPU."""
    encoder = share.encoder_layers * dimensions.encoder_layer_parameters
    decoder = share.decoder_layers * dimensions.decoder_layer_parameters
    if share.has_convolutions:
        encoder += dimensions.encoder_input_parameters
    if share.has_embedding:
        decoder += dimensions.decoder_input_parameters
    return encoder, decoder


def bytes_per_ipu(layers_per_ipu: Sequence[int], dimensions: Dimensions, factors: IpuMemoryFactors) -> Tuple[int, ...]:
    """Return the estimate for each IPU of a replica while it trains, in bytes."""
    stages = ipu_layout.forward_stages(layers_per_ipu, dimensions.encoder_layers)
    return tuple(
        _weight_bytes(share, dimensions, factors) + _activation_bytes(share, dimensions, factors, stages - 1 - index)
        for index, share in enumerate(ipu_layout.shares_of_ipus(layers_per_ipu, dimensions))
    )


def _weight_bytes(share: Share, dimensions: Dimensions, factors: IpuMemoryFactors) -> int:
    encoder, decoder = parameters_of_share(share, dimensions)
    trained = decoder + (encoder if factors.trains_encoder else 0)
    optimizer = 0 if factors.optimizer_offchip else factors.float_bytes + _SECOND_MOMENT_BYTES
    return (encoder + decoder) * factors.float_bytes + trained * (factors.float_bytes + optimizer)


def _activation_bytes(share: Share, dimensions: Dimensions, factors: IpuMemoryFactors, stages_after: int) -> int:
    under_way = 2 * max(0, stages_after) + 1  # micro-batches whose backward pass is still to come
    floats = _layer_floats(share.encoder_layers, AUDIO_POSITIONS, AUDIO_POSITIONS, dimensions, factors, under_way)
    floats += _layer_floats(
        share.decoder_layers,
        factors.label_tokens,
        factors.label_tokens + AUDIO_POSITIONS,
        dimensions,
        factors,
        under_way,
    )
    if share.has_embedding:
        floats += 2 * factors.label_tokens * dimensions.vocabulary // factors.projection_factor
    return floats * factors.float_bytes * factors.micro_batch_size


def _layer_floats(
    layers: int, positions: int, attended: int, dimensions: Dimensions, factors: IpuMemoryFactors, under_way: int
) -> int:
    if not layers:
        return 0
    inputs = positions * dimensions.width
    inside = dimensions.heads * positions * attended + _KEPT_PER_IPU_LAYER * inputs
    if factors.recompute:
        return layers * inputs * under_way + inside
    return layers * inside * under_way
