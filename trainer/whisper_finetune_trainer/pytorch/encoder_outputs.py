"""Encoder outputs of clips, each in its window: from the cache where there is one, else computed."""

from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence

import torch

from whisper_finetune_trainer.data.audio.features import FRAMES_PER_POSITION, POSITIONS_PER_SECOND
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.examples import Samples
from whisper_finetune_trainer.pytorch.device import Device
from whisper_finetune_trainer.pytorch.encoder_cache import EncoderCache, ScratchBudget

Group = Sequence[Clip]
Features = Mapping[Clip, torch.Tensor]


class EncoderOutputs:
    """Gives encoder outputs of clips, without gradients."""

    def __init__(
        self,
        network: Any,
        device: Device,
        mel_bins: int,
        window_of: Callable[[Clip], int],
        samples_of: Callable[[Clip], Samples] = examples.read_samples,
    ) -> None:
        """`window_of` a clip, in seconds; clips that are asked for together must have the same."""
        self._network = network
        self._device = device
        self._mel_bins = mel_bins
        self._window_of = window_of
        self._samples_of = samples_of
        self._cache: Optional[EncoderCache] = None
        self._group_of: Dict[Clip, Group] = {}

    def use_cache(self, what: str, groups: Sequence[Group], budget: ScratchBudget) -> bool:
        """Keep the outputs of the groups' clips, where the budget allows; only for an encoder that stays as it is.

        A group goes through the encoder together, whichever of its clips is asked for first: an output must not
        depend, not even in its last bit, on the batch that asked for it, or a resumed run, which makes the cache anew
        in another epoch, would differ from one that was not stopped.
        """
        positions = {clip: self._window_of(clip) * POSITIONS_PER_SECOND for group in groups for clip in group}
        self._cache = budget.make_cache(what, positions, self._network.config.d_model, self._device.dtype)
        if self._cache is not None:
            self._group_of = {clip: group for group in groups for clip in group}
        return self._cache is not None

    def missing_features(self, clips: Sequence[Clip]) -> Dict[Clip, torch.Tensor]:
        """Return features (1, mel_bins, frames) of what `of` would have to encode; any thread may call it."""
        missing = [clip for clip in clips if self._cache is None or clip not in self._cache]
        needed = {member: None for clip in missing for member in self._group_of.get(clip, clips)}
        return {clip: self._features([clip]) for clip in needed}

    def of(self, clips: Sequence[Clip], prepared: Optional[Features] = None) -> torch.Tensor:
        """Return (clips, positions, width); `prepared` features are not made again."""
        found: Dict[Clip, torch.Tensor] = {}
        for clip in clips:
            if self._cache is not None and clip in self._cache:
                found[clip] = self._cache.get(clip)
            elif clip not in found:
                found.update(self._encoded(self._group_of.get(clip, clips), prepared or {}))
        return torch.stack([found[clip].to(self._device.torch_device) for clip in clips])

    def _encoded(self, group: Group, prepared: Features) -> Dict[Clip, torch.Tensor]:
        ready = all(clip in prepared for clip in group)
        features = torch.cat([prepared[clip] for clip in group]) if ready else self._features(group)
        with self._device.autocast():
            hidden = encode(self._network, features.to(self._device.torch_device), self._window_of(group[0]))
        outputs = dict(zip(group, hidden.to(self._device.dtype)))
        if self._cache is not None and group[0] in self._group_of:
            for clip, output in outputs.items():
                self._cache.put(clip, output)
        return outputs

    def _features(self, clips: Sequence[Clip]) -> torch.Tensor:
        return examples.features_of(clips, self._window_of(clips[0]), self._mel_bins, self._samples_of)


@contextmanager
def shortened(network: Any, window_seconds: int) -> Iterator[None]:
    """Let the encoder take `window_seconds` of features: the first rows of its position table, the same weights.

    transformers refuses any length but the configured one, and a SpecAugment mask longer than the features. The table
    is never trained, and it is whole again outside.
    """
    encoder, config = network.model.encoder, network.config
    whole_table, whole_positions = encoder.embed_positions, config.max_source_positions
    whole_mask = config.mask_time_length
    positions = window_seconds * POSITIONS_PER_SECOND
    if positions == whole_positions:
        yield
        return
    table: Any = torch.nn.Embedding
    encoder.embed_positions = table.from_pretrained(whole_table.weight[:positions], freeze=True)
    config.max_source_positions = positions
    config.mask_time_length = min(whole_mask, positions * FRAMES_PER_POSITION)
    try:
        yield
    finally:
        encoder.embed_positions, config.max_source_positions = whole_table, whole_positions
        config.mask_time_length = whole_mask


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
