"""What a model hears of a sound, wherever it lies: mono speech at 16 kHz, and its log-mel features.

The features are equal to WhisperFeatureExtractor's, at the cost of the speech and not of the window.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple, Tuple

import numpy as np
import soundfile
import soxr
import torch
from transformers.audio_utils import mel_filter_bank
from typing_extensions import TypeAlias

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio import audio_files, audio_sources
from whisper_finetune_trainer.data.audio.audio_files import UnreadableSoundError
from whisper_finetune_trainer.data.audio.audio_sources import AudioSource, ByteRange, RecordingSegment, WholeFile
from whisper_finetune_trainer.messages.errors import TrainerError, escaped

Samples: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: Channels are compared in stretches of a tenth of a second: a recorder may turn a phase over in the middle.
_STRETCHES_PER_SECOND = 10
#: The average's power, as a part of the loudest channel's, below which nothing but their difference was spoken: 20 dB.
_CANCELLED_BELOW = 0.01
#: The part of the sound that may be lost so; an average of independent channels loses none.
_LOST_AT_MOST = 0.01
#: Samples from here on count as clipped.
_FULL_SCALE = 0.999


class Mono(NamedTuple):
    """Samples (n,), and whether they are one channel because the average of all would lose what is spoken."""

    samples: Samples
    is_one_channel: bool


class Loudness(NamedTuple):
    """What is heard of a sound: how loud what is trained on is (1 is full scale), and what was done to its channels."""

    sample_rate: int
    #: The largest deviation from the average: a steady voltage is no sound.
    peak: float
    #: The part of the recorded samples that is clipped.
    clipped: float
    #: Whether only the loudest channel is heard, because all together cancel each other.
    is_one_channel: bool


class UndecodableError(TrainerError):
    """DatasetInvalid of a sound that is there, and that nobody can decode."""

    def __init__(self, message: str) -> None:
        """`message` names the sound."""
        super().__init__("DatasetInvalid", message)


def digest_audio(source: AudioSource) -> bytes:
    """Return what tells sounds apart: a hash of the file, or of a part's samples."""
    try:
        return hashlib.blake2b(read_content(source)).digest()
    except TrainerError as error:
        if error.reason != "DatasetInvalid":
            raise
        # A part that cannot be decoded is like no other; the look at the sounds counts it.
        return repr(source).encode()


def read_content(source: AudioSource) -> bytes:
    """Return a sound file as it is. Of a part a file of its own, DatasetInvalid where it cannot be decoded."""
    if isinstance(source, RecordingSegment):
        return _as_file(*_channels(source))
    return audio_files.read_file(source)


def read_samples(source: AudioSource) -> Samples:
    """Return samples (n,) of float32 at 16 kHz in one channel. DatasetInvalid if they cannot be decoded."""
    found, rate = _channels(source)
    return _resampled(mix_down(found, rate).samples, rate)


def measure_loudness(source: AudioSource) -> Loudness:
    """Return how loud what `read` returns is. DatasetInvalid for a sound that cannot be decoded."""
    found, rate = _channels(source)
    heard = mix_down(found, rate)
    samples = _resampled(heard.samples, rate)
    peak = float(np.abs(samples - samples.mean(dtype=np.float64)).max())
    clipped = float((np.abs(found) >= _FULL_SCALE).mean())
    return Loudness(rate, peak, clipped, heard.is_one_channel)


def require_decodable(source: AudioSource) -> None:
    """Raise DatasetInvalid for a sound that cannot be decoded."""
    _channels(source)


def _resampled(samples: Samples, rate: int) -> Samples:
    return np.ascontiguousarray(
        samples if rate == SAMPLE_RATE else soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
    )


def _channels(source: AudioSource) -> Tuple[Samples, int]:
    """Return samples (n, channels) at the sound's own rate, at least one of them left at 16 kHz."""
    try:
        with source_files.store_refusals_explained(source.file):
            found, rate = _decoded(source)
    except FileNotFoundError as error:
        raise TrainerError("DatasetInvalid", f"audio file {audio_sources.describe_source(source)} is gone") from error
    except UnreadableSoundError as error:
        raise UndecodableError(
            f"audio file {audio_sources.describe_source(source)} cannot be decoded: {escaped(str(error))}"
        ) from error
    if len(found) * SAMPLE_RATE < rate:
        raise UndecodableError(f"audio file {audio_sources.describe_source(source)} holds no sound: it may be cut off")
    if not np.isfinite(found).all():
        raise UndecodableError(f"audio file {audio_sources.describe_source(source)} holds samples that are not numbers")
    return found, int(rate)


def _as_file(samples: Samples, rate: int) -> bytes:
    file = io.BytesIO()
    # A WAV file of floats would hold the time of writing.
    soundfile.write(file, samples, rate, format="AU", subtype="FLOAT")
    return file.getvalue()


def _decoded(source: AudioSource) -> Any:
    # Of a store all of it is needed: one request, and no seeking to and fro over a network.
    is_sought = isinstance(source, RecordingSegment) or (
        isinstance(source, (WholeFile, ByteRange)) and source_files.is_local(source.file)
    )
    with audio_files.open_audio(source) if is_sought else io.BytesIO(read_content(source)) as opened:
        return audio_files.decode_file(lambda file: _samples(file, source), opened)


def _samples(file: BinaryIO, source: AudioSource) -> Any:
    with soundfile.SoundFile(file) as sound:
        audio_files.require_size(sound.channels, sound.samplerate)
        if not isinstance(source, RecordingSegment):
            return sound.read(dtype="float32", always_2d=True), sound.samplerate
        sound.seek(source.start_frame)
        found = sound.read(source.frames, dtype="float32", always_2d=True)
        if len(found) < source.frames:
            raise UnreadableSoundError("the recording ends before, it may be cut off")
        return found, sound.samplerate


def mix_down(channels: Samples, sample_rate: int) -> Mono:
    """Return one channel of samples (n, channels)."""
    if channels.shape[1] == 1:
        return Mono(channels[:, 0], is_one_channel=False)
    average = channels.mean(axis=1, dtype=np.float32)
    stretch = max(1, sample_rate // _STRETCHES_PER_SECOND)
    powers = _powers(channels, stretch)
    loudest = powers.max(axis=1)
    lost = loudest[_powers(average[:, np.newaxis], stretch)[:, 0] < _CANCELLED_BELOW * loudest]
    if lost.sum() <= _LOST_AT_MOST * loudest.sum():
        return Mono(average, is_one_channel=False)
    return Mono(np.ascontiguousarray(channels[:, powers.sum(axis=0).argmax()]), is_one_channel=True)


def _powers(channels: Samples, stretch: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return the power (stretches, channels). No copy of all samples is made."""
    stretches = (channels[start : start + stretch] for start in range(0, len(channels), stretch))
    return np.array([np.einsum("sc,sc->c", part, part, dtype=np.float64, casting="same_kind") for part in stretches])


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
