"""Encoder outputs of clips, each in its window: from the cache where there is one, else computed."""

import logging
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import torch

from whisper_finetune_trainer import encoder, examples
from whisper_finetune_trainer.clips import Clip
from whisper_finetune_trainer.device import Device
from whisper_finetune_trainer.encoder_cache import EncoderCache, bytes_needed
from whisper_finetune_trainer.features import POSITIONS_PER_SECOND

logger = logging.getLogger(__name__)


class ScratchBudget:
    """Bytes of the scratch folder that caches may still take."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        """`limit_bytes` over all caches."""
        self._folder = folder
        self._left_bytes = limit_bytes

    def make_cache(
        self, what: str, positions: Mapping[Clip, int], width: int, dtype: torch.dtype
    ) -> Optional[EncoderCache]:
        """Return a cache for clips of so many encoder positions, or None where it would be too large."""
        needed = bytes_needed(positions.values(), width, dtype)
        if needed > self._left_bytes:
            logger.info(
                "encoder outputs of %s are not cached: %.0f MB are needed and %.0f MB of scratch space are left",
                what,
                needed / 1e6,
                self._left_bytes / 1e6,
            )
            return None
        self._left_bytes -= needed
        return EncoderCache(self._folder, positions, width, dtype)


class EncoderOutputs:
    """Gives encoder outputs of clips, without gradients."""

    def __init__(self, network: Any, device: Device, mel_bins: int, window_of: Callable[[Clip], int]) -> None:
        """`window_of` a clip, in seconds; clips that are asked for together must have the same."""
        self._network = network
        self._device = device
        self._mel_bins = mel_bins
        self._window_of = window_of
        self._cache: Optional[EncoderCache] = None

    def use_cache(self, what: str, clips: Sequence[Clip], budget: ScratchBudget) -> bool:
        """Keep the outputs of these clips, where the budget allows; only for an encoder that stays as it is."""
        positions = {clip: self._window_of(clip) * POSITIONS_PER_SECOND for clip in clips}
        self._cache = budget.make_cache(what, positions, self._network.config.d_model, self._device.dtype)
        return self._cache is not None

    def missing_features(self, clips: Sequence[Clip]) -> Dict[Clip, torch.Tensor]:
        """Return features (1, mel_bins, frames) of the clips whose output is not cached; any thread may call it."""
        missing = [clip for clip in clips if self._cache is None or clip not in self._cache]
        return {clip: self._features([clip]) for clip in missing}

    def of(self, clips: Sequence[Clip], prepared: Optional[Mapping[Clip, torch.Tensor]] = None) -> torch.Tensor:
        """Return (clips, positions, width); `prepared` features of clips that are not cached are not made again."""
        if self._cache is None:
            return self._encode(self._features(clips), self._window_of(clips[0]))
        # One by one: a clip's output must not depend, not even in its last bit, on the batch it was made in, or a
        # resumed run, which makes the cache anew in another epoch, would differ from one that was not stopped.
        outputs = [self._cached(self._cache, clip, prepared or {}) for clip in clips]
        return torch.stack(outputs).to(self._device.torch_device)

    def _cached(self, cache: EncoderCache, clip: Clip, prepared: Mapping[Clip, torch.Tensor]) -> torch.Tensor:
        if clip in cache:
            return cache.get(clip)
        features = prepared[clip] if clip in prepared else self._features([clip])
        output = self._encode(features, self._window_of(clip))[0].cpu()
        cache.put(clip, output)
        return output

    def _features(self, clips: Sequence[Clip]) -> torch.Tensor:
        return examples.features_of(clips, self._window_of(clips[0]), self._mel_bins)

    def _encode(self, features: torch.Tensor, window_seconds: int) -> torch.Tensor:
        with self._device.autocast():
            hidden = encoder.encode(self._network, features.to(self._device.torch_device), window_seconds)
        return hidden.to(self._device.dtype)
