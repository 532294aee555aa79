"""The encoder's outputs of clips, each in its window. They come from a cache if there is one, else they are computed.

A frozen encoder's outputs are kept in the scratch folder. So it runs once per clip, and not once per epoch. An output
is kept in the type in which the decoder computes (bfloat16 under autocast, else float32), so nothing is lost.
"""

import errno
import logging
import os
import tempfile
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence, Set

import torch

from whisper_finetune_trainer.data.audio.decoding import FRAMES_PER_POSITION, POSITIONS_PER_SECOND
from whisper_finetune_trainer.data.passages import TrainItem
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.examples import Samples
from whisper_finetune_trainer.pytorch.device import Device

logger = logging.getLogger(__name__)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class EncoderCache:
    """A file with the output of each clip. The file has no name, so it is gone however the process ends."""

    def __init__(self, folder: str, positions: Mapping[TrainItem, int], width: int, dtype: torch.dtype) -> None:
        """`positions` has the number of positions of each clip's output. Raises OSError if the disk has no room."""
        self._positions, self._width, self._dtype = positions, width, dtype
        ends = list(accumulate(count * width * dtype.itemsize for count in positions.values()))
        self._offsets = dict(zip(positions, [0, *ends]))
        self._filled: Set[TrainItem] = set()
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 -- open as long as the cache lives
        # All room is taken at once. So a disk that is too small is found now, and not in the middle of an epoch.
        os.posix_fallocate(self._file.fileno(), 0, ends[-1])

    def __contains__(self, clip: TrainItem) -> bool:
        return clip in self._filled

    def get(self, clip: TrainItem) -> torch.Tensor:
        """Return the output (positions, width) of a clip that is in the cache."""
        output = torch.empty(self._positions[clip], self._width, dtype=self._dtype)
        self._file.seek(self._offsets[clip])
        self._file.readinto(_as_bytes(output))
        return output

    def put(self, clip: TrainItem, output: torch.Tensor) -> None:
        """Write the output (positions, width) of a clip."""
        self._file.seek(self._offsets[clip])
        remaining = memoryview(_as_bytes(output.to("cpu", self._dtype).contiguous()))
        while remaining:
            remaining = remaining[self._file.write(remaining) :]
        self._filled.add(clip)


def _as_bytes(tensor: torch.Tensor) -> Any:
    # NumPy has no bfloat16, and the bytes are the same.
    return tensor.view(torch.uint8).numpy().reshape(-1)


class ScratchBudget:
    """The part of the scratch folder that caches may still take."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        """`limit_bytes` is for all caches together."""
        self._folder = folder
        self._left_bytes = limit_bytes

    def make_cache(
        self, what: str, positions: Mapping[TrainItem, int], width: int, dtype: torch.dtype
    ) -> Optional[EncoderCache]:
        """Return a cache for clips with so many encoder positions, or None if it would be too large."""
        needed = sum(positions.values()) * width * dtype.itemsize
        if needed > self._left_bytes:
            left = f"{self._left_bytes / 1e6:.0f} MB of scratch space are left"
            logger.info("encoder outputs of %s are not cached: %.0f MB are needed and %s", what, needed / 1e6, left)
            return None
        try:
            cache = EncoderCache(self._folder, positions, width, dtype)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            logger.warning("encoder outputs of %s are not cached: no %.0f MB in %s", what, needed / 1e6, self._folder)
            return None
        self._left_bytes -= needed
        return cache


Group = Sequence[TrainItem]
Features = Mapping[TrainItem, torch.Tensor]


class EncoderOutputs:
    """Gives the encoder's outputs of clips, without gradients."""

    def __init__(
        self,
        network: Any,
        device: Device,
        mel_bins: int,
        window_of: Callable[[TrainItem], int],
        samples_of: Callable[[TrainItem], Samples] = examples.samples_of_item,
    ) -> None:
        """`window_of` returns a clip's window in seconds. Clips that are asked for together must have the same."""
        self._network = network
        self._device = device
        self._mel_bins = mel_bins
        self._window_of = window_of
        self._samples_of = samples_of
        self._cache: Optional[EncoderCache] = None
        self._group_of: Dict[TrainItem, Group] = {}

    def use_cache(self, what: str, groups: Sequence[Group], budget: ScratchBudget) -> bool:
        """Cache the outputs of the groups' clips if the budget allows it. Return whether they are cached.

        It is only for a frozen encoder. A group always goes through the encoder together, whichever of its clips is
        asked for first. So not even the last bit of an output depends on the batch that asked for it. Otherwise a
        resumed run, which makes the cache anew in another epoch, would differ from a run that was not stopped.
        """
        positions = {clip: self._window_of(clip) * POSITIONS_PER_SECOND for group in groups for clip in group}
        self._cache = budget.make_cache(what, positions, self._network.config.d_model, self._device.dtype)
        if self._cache is not None:
            self._group_of = {clip: group for group in groups for clip in group}
        return self._cache is not None

    def missing_features(self, clips: Sequence[TrainItem]) -> Dict[TrainItem, torch.Tensor]:
        """Return features (1, mel_bins, frames) of the clips that `of` would have to encode. Any thread may call it."""
        missing = [clip for clip in clips if self._cache is None or clip not in self._cache]
        needed = {member: None for clip in missing for member in self._group_of.get(clip, clips)}
        return {clip: self._features([clip]) for clip in needed}

    def of(self, clips: Sequence[TrainItem], prepared: Optional[Features] = None) -> torch.Tensor:
        """Return outputs (clips, positions, width). Features that are `prepared` are not made again."""
        found: Dict[TrainItem, torch.Tensor] = {}
        for clip in clips:
            if self._cache is not None and clip in self._cache:
                found[clip] = self._cache.get(clip)
            elif clip not in found:
                found.update(self._encoded(self._group_of.get(clip, clips), prepared or {}))
        return torch.stack([found[clip].to(self._device.torch_device) for clip in clips])

    def silence(self, clips: int, window_seconds: int, *, encoded: bool) -> Dict[str, Any]:
        """Return the network's inputs for so many clips without sound: encoder outputs where they are `encoded`."""
        device, width = self._device.torch_device, self._network.config.d_model
        if encoded:
            shape = clips, window_seconds * POSITIONS_PER_SECOND, width
            return {"encoder_outputs": (torch.zeros(shape, dtype=self._device.dtype, device=device),)}
        frames = window_seconds * POSITIONS_PER_SECOND * FRAMES_PER_POSITION
        return {"input_features": torch.zeros(clips, self._mel_bins, frames, device=device)}

    def _encoded(self, group: Group, prepared: Features) -> Dict[TrainItem, torch.Tensor]:
        ready = all(clip in prepared for clip in group)
        features = torch.cat([prepared[clip] for clip in group]) if ready else self._features(group)
        with self._device.autocast():
            hidden = encode(self._network, features.to(self._device.torch_device), self._window_of(group[0]))
        outputs = dict(zip(group, hidden.to(self._device.dtype)))
        if self._cache is not None and group[0] in self._group_of:
            for clip, output in outputs.items():
                self._cache.put(clip, output)
        return outputs

    def _features(self, clips: Sequence[TrainItem]) -> torch.Tensor:
        return examples.features_of(clips, self._window_of(clips[0]), self._mel_bins, self._samples_of)


@contextmanager
def shortened(network: Any, window_seconds: int) -> Iterator[None]:
    """Have the encoder take features of `window_seconds`, with the first rows of its position table.

    transformers refuses features of another length than the configured one, and a SpecAugment mask that is longer than
    the features. The table is never trained, and it is whole again after the context.
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


def draws_nothing(config: Any) -> bool:
    """Return whether a training step draws no random number."""
    return is_deterministic(config) and not config.decoder_layerdrop


def is_deterministic(config: Any) -> bool:
    """Return whether a clip's encoder output is always the same in training: no dropout, no layer drop, no masking."""
    masked = config.apply_spec_augment and (config.mask_time_prob > 0 or config.mask_feature_prob > 0)
    dropped = config.dropout or config.attention_dropout or config.activation_dropout or config.encoder_layerdrop
    return not masked and not dropped
