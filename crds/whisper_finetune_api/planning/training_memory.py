"""Estimate how much memory a training needs: on a GPU or CPU by part, and on each IPU. Pure.

On a GPU or CPU, what a layer keeps for its gradients was counted in PyTorch's allocator on a CPU, for transformers'
Whisper with its usual attention. `tests/trainer/test_training_memory.py` holds the estimate to within 10 % of what the
allocator gave out. PyTorch itself, CUDA's context and the pieces that an allocator cannot use come on top.

On an IPU, weights, accumulated gradients, the optimizer's state where it stays on the chip, stored activations and the
largest of the other ones are counted. Code and the buffers of the exchange are not, and nothing of this was calibrated
on IPUs.
"""

from dataclasses import dataclass
from typing import Callable, Dict, Sequence, Tuple

from pydantic import Field
from typing_extensions import Literal

from whisper_finetune_api.planning import ipu_layout
from whisper_finetune_api.planning.ipu_layout import Share
from whisper_finetune_api.planning.model_dimensions import AUDIO_POSITIONS, Dimensions
from whisper_finetune_api.v1alpha1.api_model import ApiModel

#: In-Processor-Memory of a GC200 and of a Bow IPU.
BYTES_OF_IPU = 900_000_000
_SECOND_MOMENT_BYTES = 4
#: Floats per position and unit of width that a layer on an IPU keeps until its gradient: attention and feed-forward.
_KEPT_PER_IPU_LAYER = 16


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


Precision = Literal["Half", "Float"]
#: Weights, gradients and AdamW's moments are float32.
_BYTES_OF_WEIGHT = 4
#: Of a logit when the backward pass begins: what its softmax kept, the gradient of that, and the logit's own gradient.
_BYTES_OF_LOGIT = 3 * 4
#: Of a logit while a text is searched for: its score, the one before, and what leaves tokens out.
_BYTES_OF_SCORE = 4 * 4
#: Of Python and its libraries, 350 MB, and of clips that are read.
_PROCESS_BYTES = 600_000_000
#: Positions after the encoder's second convolution are half as many as log-mel frames.
_FRAMES_PER_POSITION = 2


@dataclass(frozen=True)
class _Kept:
    """Bytes in a precision. Without another word they are those of a position and a unit of width."""

    #: Of a layer of the encoder: inputs of its norms and products, query, key, value, and what attention gave.
    encoder_layer: int
    #: Before the encoder's layers and after them: convolutions and the last norm.
    encoder_input: int
    decoder_layer: int
    #: Of a position of the encoder in each layer of the decoder: key and value, and in Half their inputs.
    cross_attention: int
    #: What the backward pass of one layer of the encoder computes beside what was kept.
    under_way: int
    #: What the encoder computes in one layer where nothing is kept.
    encoding: int
    #: Of a number that the decoder keeps while it writes.
    cached: int
    #: Of a weight of the trained parts: the copy in which the products compute.
    weight_copy: int
    #: How many more embeddings there are where the gradients of the embedding and of the projection meet.
    spare_embeddings: int


_KEPT: Dict[Precision, _Kept] = {
    "Float": _Kept(68, 28, 88, 8, under_way=12, encoding=48, cached=4, weight_copy=0, spare_embeddings=2),
    "Half": _Kept(42, 22, 54, 8, under_way=12, encoding=31, cached=2, weight_copy=2, spare_embeddings=1),
}


@dataclass(frozen=True)
class MicroBatch:
    """What goes through the network at once, and how often in a step."""

    clips: int
    #: Of the encoder's output: 50 for each second of the window.
    positions: int
    #: Label tokens of each clip.
    tokens: int
    #: How many micro-batches a step has. From the second one on there are gradients of those before.
    in_a_step: int = 1
    #: Whether each layer is computed again for its gradients, so that its input alone is kept.
    recomputes: bool = False


class MemoryEstimate(ApiModel):
    """Bytes by part. Not all parts are there at the same time, so the peak is less than their sum."""

    weights: int
    gradients: int
    moments: int = Field(description="AdamW's two moments, which stay from the first step on.")
    weight_copies: int = Field(description="Weights in bfloat16, in which Half computes its products.")
    activations: int = Field(description="What the backward pass of a micro-batch needs of the forward pass.")
    logits: int = Field(description="Of the label tokens, with their gradients.")
    evaluation: int = Field(description="Activations and cached keys and values while held-out clips are transcribed.")
    peak: int = Field(description="Most of it at one time.")


def estimate_memory(
    dimensions: Dimensions, batch: MicroBatch, precision: Precision, *, trains_encoder: bool, evaluated: MicroBatch
) -> MemoryEstimate:
    """Return the estimate of a training. `evaluated` are the clips that are transcribed at once, and their texts."""
    kept = _KEPT[precision]
    trained = dimensions.parameters if trains_encoder else dimensions.decoder_parameters
    held = _encoder_bytes(dimensions, batch, kept) if trains_encoder else _hidden_bytes(dimensions, batch)
    states = dimensions.parameters * _BYTES_OF_WEIGHT + 2 * trained * _BYTES_OF_WEIGHT
    evaluation = _evaluation_bytes(dimensions, evaluated, kept)
    return MemoryEstimate(
        weights=dimensions.parameters * _BYTES_OF_WEIGHT,
        gradients=trained * _BYTES_OF_WEIGHT,
        moments=2 * trained * _BYTES_OF_WEIGHT,
        weight_copies=_copied_bytes(dimensions, batch, kept, trained),
        activations=held + _decoder_bytes(dimensions, batch, kept),
        logits=batch.clips * batch.tokens * dimensions.vocabulary * _BYTES_OF_LOGIT,
        evaluation=evaluation,
        peak=states + max(evaluation, _step_bytes(dimensions, batch, kept, held, trained)),
    )


def largest_that_fits(clips: int, peak_of: Callable[[int], int], limit_bytes: int) -> int:
    """Return how many clips fit into a machine's memory at once: `clips`, or a half or a quarter of them, and so on.

    `peak_of` returns the estimate for a number of clips. What a process has beside its tensors is taken off the limit.
    """
    # Where one clip does not fit, or where evaluations take the most, fewer clips help no further than that.
    limit = max(limit_bytes - _PROCESS_BYTES, peak_of(1))
    while clips > 1 and peak_of(clips) > limit:
        clips = -(-clips // 2)
    return clips


def _step_bytes(dimensions: Dimensions, batch: MicroBatch, kept: _Kept, held: int, trained: int) -> int:
    """Return the most that a step needs beside weights and moments, at the four times when that may be.

    `held` is what is kept of the encoder until the decoder's backward pass is over.
    """
    earlier = trained * _BYTES_OF_WEIGHT if batch.in_a_step > 1 else 0
    embedding = dimensions.vocabulary * dimensions.width
    logits = batch.clips * batch.tokens * dimensions.vocabulary
    copies = _copied_bytes(dimensions, batch, kept, trained)
    begun = earlier + held + _decoder_bytes(dimensions, batch, kept) + copies
    in_encoder = dimensions.encoder_parameters if trained > dimensions.decoder_parameters else 0
    done = (earlier or dimensions.decoder_parameters * _BYTES_OF_WEIGHT) + held
    done += 0 if batch.recomputes else in_encoder * kept.weight_copy
    spare = kept.spare_embeddings + (1 if batch.in_a_step > 1 else 0)
    of_layer = kept.under_way + (kept.encoder_layer if batch.recomputes else 0)
    under_way = _width_of_encoder(dimensions, batch) * of_layer if in_encoder else 0
    return max(
        begun + logits * _BYTES_OF_LOGIT,
        # The gradient of the projection, while the logits' own is still there. In Half it is made twice.
        begun + logits * _BYTES_OF_WEIGHT + embedding * (_BYTES_OF_WEIGHT + kept.weight_copy),
        done + spare * embedding * _BYTES_OF_WEIGHT,
        done + under_way,
        trained * _BYTES_OF_WEIGHT,
    )


def _width_of_encoder(dimensions: Dimensions, batch: MicroBatch) -> int:
    return batch.clips * batch.positions * dimensions.width


def _copied_bytes(dimensions: Dimensions, batch: MicroBatch, kept: _Kept, trained: int) -> int:
    """Return the bytes of the weights' copies. Those of layers that are computed again are gone in between."""
    return (dimensions.vocabulary * dimensions.width if batch.recomputes else trained) * kept.weight_copy


def _layer_bytes(batch: MicroBatch, layers: int, whole: int, of_input: int) -> int:
    """Return what is kept of layers from the forward pass, given the bytes of a `whole` one and of its input."""
    return layers * (of_input if batch.recomputes else whole)


def _encoder_bytes(dimensions: Dimensions, batch: MicroBatch, kept: _Kept) -> int:
    layers = _layer_bytes(batch, dimensions.encoder_layers, kept.encoder_layer, _BYTES_OF_WEIGHT) + kept.encoder_input
    frames = batch.clips * batch.positions * _FRAMES_PER_POSITION * dimensions.mel_bins
    # Features are there clip by clip and joined, and in Half once more.
    return _width_of_encoder(dimensions, batch) * layers + frames * (2 * _BYTES_OF_WEIGHT + kept.weight_copy)


def _hidden_bytes(dimensions: Dimensions, batch: MicroBatch) -> int:
    return _width_of_encoder(dimensions, batch) * _BYTES_OF_WEIGHT


def _decoder_bytes(dimensions: Dimensions, batch: MicroBatch, kept: _Kept) -> int:
    of_tokens = batch.clips * batch.tokens * dimensions.width
    of_encoder = _width_of_encoder(dimensions, batch) * kept.cross_attention
    whole = of_tokens * kept.decoder_layer + of_encoder
    again = whole if batch.recomputes else 0
    return _layer_bytes(batch, dimensions.decoder_layers, whole, of_tokens * _BYTES_OF_WEIGHT) + again


def _evaluation_bytes(dimensions: Dimensions, batch: MicroBatch, kept: _Kept) -> int:
    encoder = _width_of_encoder(dimensions, batch)
    positions = batch.clips * (batch.positions + batch.tokens) * dimensions.width
    keys_and_values = 2 * dimensions.decoder_layers * positions * kept.cached
    # The projection is the largest weight, and copied for each token anew.
    scores = dimensions.vocabulary * (batch.clips * _BYTES_OF_SCORE + dimensions.width * kept.weight_copy)
    encoding = encoder * kept.encoding + dimensions.encoder_parameters * kept.weight_copy
    return max(encoding, encoder * _BYTES_OF_WEIGHT + keys_and_values + scores)
