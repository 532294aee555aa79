"""Dimensions of OpenAI's Whisper models. Those of any other model the trainer reads from its config.json."""

from dataclasses import dataclass
from typing import Dict, Optional

ENGLISH_VOCABULARY = 51864
MULTILINGUAL_VOCABULARY = 51865
#: large-v3 added Cantonese.
CANTONESE_VOCABULARY = 51866
#: Positions of the encoder's output: 30 seconds.
AUDIO_POSITIONS = 1500
_TEXT_POSITIONS = 448
_CONVOLUTION_WIDTH = 3


@dataclass(frozen=True)
class Dimensions:
    """The numbers that decide a model's size: width, layers, heads, vocabulary and mel bins."""

    width: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    vocabulary: int = MULTILINGUAL_VOCABULARY
    mel_bins: int = 80

    @property
    def encoder_input_parameters(self) -> int:
        """Number of weights before the encoder's layers, and of the last norm."""
        convolutions = _CONVOLUTION_WIDTH * self.width * (self.mel_bins + self.width) + 2 * self.width
        return convolutions + AUDIO_POSITIONS * self.width + 2 * self.width

    @property
    def encoder_layer_parameters(self) -> int:
        """Number of weights of one layer: 4 matrices of attention and 8 of feed-forward. The key has no bias."""
        return 12 * self.width**2 + 13 * self.width - self.width

    @property
    def decoder_input_parameters(self) -> int:
        """Number of weights before the decoder's layers, and of the last norm. The projection is the embedding."""
        return (self.vocabulary + _TEXT_POSITIONS) * self.width + 2 * self.width

    @property
    def decoder_layer_parameters(self) -> int:
        """Number of weights of one layer: two attentions. The key has no bias."""
        return 16 * self.width**2 + 19 * self.width - 2 * self.width

    @property
    def encoder_parameters(self) -> int:
        """Number of weights of the encoder."""
        return self.encoder_input_parameters + self.encoder_layers * self.encoder_layer_parameters

    @property
    def decoder_parameters(self) -> int:
        """Number of weights of the decoder."""
        return self.decoder_input_parameters + self.decoder_layers * self.decoder_layer_parameters

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return self.encoder_parameters + self.decoder_parameters


_SIZES = {
    "tiny": Dimensions(384, 4, 4, 6),
    "base": Dimensions(512, 6, 6, 8),
    "small": Dimensions(768, 12, 12, 12),
    "medium": Dimensions(1024, 24, 24, 16),
}
_LARGE = Dimensions(1280, 32, 32, 20)
DIMENSIONS: Dict[str, Dimensions] = {
    **{f"openai/whisper-{name}": size for name, size in _SIZES.items()},
    **{
        f"openai/whisper-{name}.en": Dimensions(
            size.width, size.encoder_layers, size.decoder_layers, size.heads, ENGLISH_VOCABULARY
        )
        for name, size in _SIZES.items()
    },
    "openai/whisper-large": _LARGE,
    "openai/whisper-large-v2": _LARGE,
    "openai/whisper-large-v3": Dimensions(1280, 32, 32, 20, CANTONESE_VOCABULARY, 128),
    "openai/whisper-large-v3-turbo": Dimensions(1280, 32, 4, 20, CANTONESE_VOCABULARY, 128),
}


def dimensions_of(model: str) -> Optional[Dimensions]:
    """Return the dimensions of a model of the table, or None."""
    return DIMENSIONS.get(model)
