"""Where the layers of a Whisper model lie on the IPUs of one replica. Pure arithmetic.

The rule is that of Graphcore's notebook: one half of the IPUs has the encoder and the other the decoder. The first IPU
of each half has fewer layers, because the convolutions or the token embedding lie there too.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import List, Sequence, Tuple

from whisper_finetune_api.planning.model_dimensions import Dimensions

#: Sizes that a V-IPU partition can have.
PARTITION_SIZES = (1, 2, 4, 8, 16, 32, 64)
#: How many layers the convolutions, or the embedding with the projection, count as: [5, 7] of whisper-small's 12.
_LAYERS_OF_FIRST_IPU = 2


@dataclass(frozen=True)
class Share:
    """The part of a model that lies on one IPU."""

    encoder_layers: int
    decoder_layers: int
    has_convolutions: bool
    has_embedding: bool


def spread_layers(encoder_layers: int, decoder_layers: int, ipus: int) -> Tuple[int, ...]:
    """Return the layers on each of `ipus` IPUs, an even number of them."""
    return (*_half(encoder_layers, ipus // 2), *_half(decoder_layers, ipus // 2))


def _half(layers: int, ipus: int) -> List[int]:
    if ipus == 1:
        return [layers]
    least, more = divmod(layers + _LAYERS_OF_FIRST_IPU, ipus)
    shares = [least] * (ipus - more) + [least + 1] * more
    return [max(0, shares[0] - _LAYERS_OF_FIRST_IPU), *shares[1:]]


def shares_of_ipus(layers_per_ipu: Sequence[int], dimensions: Dimensions) -> Tuple[Share, ...]:
    """Return the share of each IPU, as optimum-graphcore's `parallelize` places it."""
    ends = list(accumulate(layers_per_ipu))
    first_decoder = first_decoder_ipu(layers_per_ipu, dimensions.encoder_layers)
    found = []
    for index, (layers, end) in enumerate(zip(layers_per_ipu, ends)):
        of_encoder = max(0, min(end, dimensions.encoder_layers) - (end - layers))
        found.append(Share(of_encoder, layers - of_encoder, index == 0, index == first_decoder))
    return tuple(found)


def first_decoder_ipu(layers_per_ipu: Sequence[int], encoder_layers: int) -> int:
    """Return the index of the IPU with the first decoder layer, where the embedding and the projection lie too."""
    return next(index for index, end in enumerate(accumulate(layers_per_ipu)) if end > encoder_layers)


def forward_stages(layers_per_ipu: Sequence[int], encoder_layers: int) -> int:
    """Return the number of stages of the forward pass: one for each IPU in use, and one back for the projection."""
    used = [index for index, layers in enumerate(layers_per_ipu) if layers or index == 0]
    back = used[-1] != first_decoder_ipu(layers_per_ipu, encoder_layers)
    return len(used) + (1 if back else 0)


def pipeline_stages(layers_per_ipu: Sequence[int], encoder_layers: int) -> int:
    """Return the number of stages of a training step. PopTorch needs at least as much gradient accumulation."""
    return 2 * forward_stages(layers_per_ipu, encoder_layers) - 1


def encoder_ipus(inference_layers_per_ipu: Sequence[int], encoder_layers: int) -> int:
    """Return how many IPUs have exactly the encoder, or 0 where encoder and decoder share an IPU."""
    ends = list(accumulate(inference_layers_per_ipu))
    return ends.index(encoder_layers) + 1 if encoder_layers in ends else 0


def is_partition_size(number: int) -> bool:
    """Return whether the number is a power of two from 1 to 64."""
    return number in PARTITION_SIZES


def partition_size_for(ipus: int) -> int:
    """Return the smallest partition size with so many IPUs. Where there is none, it exceeds the largest size."""
    return next((size for size in PARTITION_SIZES if size >= ipus), 2 * PARTITION_SIZES[-1])
