"""Log-mel features of Whisper, equal to WhisperFeatureExtractor's, at the cost of the speech and not of the window."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from transformers.audio_utils import mel_filter_bank

SAMPLE_RATE = 16_000
#: Samples per frame of the log-mel features.
HOP = 160
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
#: The encoder's second convolution halves the frames.
FRAMES_PER_POSITION = 2
POSITIONS_PER_SECOND = FRAMES_PER_SECOND // FRAMES_PER_POSITION
_FFT = 400
#: Log-mel values more than this below the clip's maximum are raised to it.
_DYNAMIC_RANGE = 8.0
_SMALLEST_POWER = 1e-10
_LOG_OF_SMALLEST_POWER = -10.0


@dataclass(frozen=True)
class FeatureSettings:
    """What a model expects: mel bins and the length of its window."""

    mel_bins: int
    window_seconds: int


def feature_settings_of(config: Any) -> FeatureSettings:
    """Return the settings of a WhisperConfig."""
    return FeatureSettings(config.num_mel_bins, config.max_source_positions // POSITIONS_PER_SECOND)


def log_mel(samples: np.ndarray, mel_bins: int, window_seconds: int) -> torch.Tensor:
    """Return float32 features (mel_bins, 100 * window_seconds) of mono speech at 16 kHz. What is longer is cut.

    The short-time Fourier transform runs over the speech alone: in the silence after it every value is the floor,
    which is known beforehand. Call it outside of autocast.
    """
    frames = window_seconds * FRAMES_PER_SECOND
    voiced = min(frames, len(samples) // HOP + 3)
    logarithms = _log_mel_of_frames(torch.from_numpy(samples), voiced, frames, mel_bins)
    floor = float(logarithms.max()) - _DYNAMIC_RANGE
    features = torch.full((mel_bins, frames), max(floor, _LOG_OF_SMALLEST_POWER))
    features[:, :voiced] = logarithms.clamp(min=floor)
    return (features + 4.0) / 4.0


def _log_mel_of_frames(samples: torch.Tensor, voiced: int, frames: int, mel_bins: int) -> torch.Tensor:
    window_samples = frames * HOP
    # Half a transform more than the last frame's centre, so that the reflection at the end is beyond every frame kept;
    # where the speech fills the window, the reflection is at the window's end, as in the original.
    length = min(window_samples, voiced * HOP + _FFT // 2)
    padded = torch.zeros(length)
    kept = min(len(samples), length)
    padded[:kept] = samples[:kept]
    spectrum = torch.stft(padded, _FFT, HOP, window=_hann_window(), return_complex=True)[..., :voiced]
    power = (spectrum.abs() ** 2).contiguous()
    return (_mel_filters(mel_bins).T @ power).clamp(min=_SMALLEST_POWER).log10()


@lru_cache(maxsize=1)
def _hann_window() -> torch.Tensor:
    return torch.hann_window(_FFT)


@lru_cache(maxsize=4)
def _mel_filters(mel_bins: int) -> torch.Tensor:
    filters = mel_filter_bank(
        num_frequency_bins=1 + _FFT // 2,
        num_mel_filters=mel_bins,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(filters).float()
