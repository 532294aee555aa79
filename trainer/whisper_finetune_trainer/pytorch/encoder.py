"""Run Whisper's encoder in windows shorter than the model's own."""

from contextlib import contextmanager
from typing import Any, Iterator

import torch

from whisper_finetune_trainer.data.audio.features import POSITIONS_PER_SECOND


@contextmanager
def shortened(network: Any, window_seconds: int) -> Iterator[None]:
    """Let the encoder take `window_seconds` of features: the first rows of its position table, the same weights.

    transformers refuses any length but the configured one. The table is never trained, and it is whole again outside.
    """
    encoder, config = network.model.encoder, network.config
    whole_table, whole_positions = encoder.embed_positions, config.max_source_positions
    positions = window_seconds * POSITIONS_PER_SECOND
    if positions == whole_positions:
        yield
        return
    table: Any = torch.nn.Embedding
    encoder.embed_positions = table.from_pretrained(whole_table.weight[:positions], freeze=True)
    config.max_source_positions = positions
    try:
        yield
    finally:
        encoder.embed_positions, config.max_source_positions = whole_table, whole_positions


def encode(network: Any, features: torch.Tensor, window_seconds: int) -> torch.Tensor:
    """Return the encoder's output (clips, 50 * window_seconds, width) for features on its device, without gradients."""
    with torch.no_grad(), shortened(network, window_seconds):
        hidden: torch.Tensor = network.model.encoder(features).last_hidden_state
    return hidden


def is_deterministic(config: Any) -> bool:
    """Say whether a clip's encoder output is the same each time while training: no dropout, layer drop or masking."""
    masked = config.apply_spec_augment and (config.mask_time_prob > 0 or config.mask_feature_prob > 0)
    dropped = config.dropout or config.attention_dropout or config.activation_dropout or config.encoder_layerdrop
    return not masked and not dropped
