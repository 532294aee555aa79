"""How much memory each IPU needs: an estimate, never calibrated on hardware, so that it only warns.

Counted are weights, accumulated gradients, optimizer state where it stays on the chip, stored activations and the
largest of the others. Not counted are code and the exchange's buffers.
"""

from dataclasses import dataclass
from typing import Sequence, Tuple

from whisper_finetune_api.planning import ipu_layout
from whisper_finetune_api.planning.ipu_layout import Share
from whisper_finetune_api.planning.model_dimensions import AUDIO_POSITIONS, Dimensions

#: In-Processor-Memory of a GC200 and of a Bow IPU.
BYTES_OF_IPU = 900_000_000
_SECOND_MOMENT_BYTES = 4
#: Floats per position and unit of width that one layer keeps until its gradient: attention and feed-forward.
_KEPT_PER_LAYER = 16


@dataclass(frozen=True)
class Numbers:
    """What the estimate needs beside the layout."""

    float_bytes: int
    trains_encoder: bool
    optimizer_offchip: bool
    recompute: bool
    micro_batch_size: int
    label_tokens: int
    projection_factor: int


def parameters(share: Share, dimensions: Dimensions) -> Tuple[int, int]:
    """Return the weights of the encoder and of the decoder on one IPU."""
    encoder = share.encoder_layers * dimensions.encoder_layer_parameters
    decoder = share.decoder_layers * dimensions.decoder_layer_parameters
    if share.has_convolutions:
        encoder += dimensions.encoder_input_parameters
    if share.has_embedding:
        decoder += dimensions.decoder_input_parameters
    return encoder, decoder


def bytes_per_ipu(layers_per_ipu: Sequence[int], dimensions: Dimensions, numbers: Numbers) -> Tuple[int, ...]:
    """Return the estimate for each IPU of a replica while it trains."""
    stages = ipu_layout.forward_stages(layers_per_ipu, dimensions.encoder_layers)
    return tuple(
        _weight_bytes(share, dimensions, numbers) + _activation_bytes(share, dimensions, numbers, stages - 1 - place)
        for place, share in enumerate(ipu_layout.shares(layers_per_ipu, dimensions))
    )


def _weight_bytes(share: Share, dimensions: Dimensions, numbers: Numbers) -> int:
    encoder, decoder = parameters(share, dimensions)
    trained = decoder + (encoder if numbers.trains_encoder else 0)
    optimizer = 0 if numbers.optimizer_offchip else numbers.float_bytes + _SECOND_MOMENT_BYTES
    return (encoder + decoder) * numbers.float_bytes + trained * (numbers.float_bytes + optimizer)


def _activation_bytes(share: Share, dimensions: Dimensions, numbers: Numbers, stages_after: int) -> int:
    under_way = 2 * max(0, stages_after) + 1  # micro-batches whose backward pass is still to come
    floats = _layer_floats(share.encoder_layers, AUDIO_POSITIONS, AUDIO_POSITIONS, dimensions, numbers, under_way)
    floats += _layer_floats(
        share.decoder_layers,
        numbers.label_tokens,
        numbers.label_tokens + AUDIO_POSITIONS,
        dimensions,
        numbers,
        under_way,
    )
    if share.has_embedding:
        floats += 2 * numbers.label_tokens * dimensions.vocabulary // numbers.projection_factor
    return floats * numbers.float_bytes * numbers.micro_batch_size


def _layer_floats(
    layers: int, positions: int, attended: int, dimensions: Dimensions, numbers: Numbers, under_way: int
) -> int:
    if not layers:
        return 0
    inputs = positions * dimensions.width
    inside = dimensions.heads * positions * attended + _KEPT_PER_LAYER * inputs
    if numbers.recompute:
        return layers * inputs * under_way + inside
    return layers * inside * under_way
