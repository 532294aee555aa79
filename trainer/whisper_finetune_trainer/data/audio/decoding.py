"""What a model hears of a sound from any source: mono speech at 16 kHz, and the frames that its features have."""

import hashlib
import io
from dataclasses import dataclass
from typing import Any, NamedTuple, Tuple

import numpy as np
import soundfile
import soxr
from typing_extensions import TypeAlias

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio import audio_files, audio_sources
from whisper_finetune_trainer.data.audio.audio_files import UnreadableSoundError
from whisper_finetune_trainer.data.audio.audio_sources import AudioSource, ByteRange, RecordingSegment, WholeFile
from whisper_finetune_trainer.messages.errors import TrainerError, escaped

Samples: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: Channels are compared in stretches of a tenth of a second, because a recorder may invert a phase in the middle.
_STRETCHES_PER_SECOND = 10
#: If the average of the channels has less than this fraction of the loudest channel's power (-20 dB), they cancel each
#: other.
_CANCELLED_BELOW = 0.01
#: The fraction of a sound's power that may be lost by that. The average of independent channels loses nothing.
_LOST_AT_MOST = 0.01
#: Larger samples count as clipped.
_FULL_SCALE = 0.999


class Mono(NamedTuple):
    """Samples (n,). `is_one_channel` says that they are the loudest channel, because the average would lose speech."""

    samples: Samples
    is_one_channel: bool


class Loudness(NamedTuple):
    """How loud a sound is as it is trained on (1 is full scale), and how its channels were mixed."""

    sample_rate: int
    #: The largest deviation from the mean, because a constant voltage is no sound.
    peak: float
    #: The fraction of the recorded samples that is clipped.
    clipped: float
    #: Whether only the loudest channel is used, because the channels cancel each other.
    is_one_channel: bool


class UndecodableError(TrainerError):
    """DatasetInvalid, because a sound exists and cannot be decoded."""

    def __init__(self, message: str) -> None:
        """`message` names the sound."""
        super().__init__("DatasetInvalid", message)


def digest_audio(source: AudioSource) -> bytes:
    """Return a digest of a sound: of its file or, for a segment, of its samples."""
    try:
        return hashlib.blake2b(read_content(source)).digest()
    except TrainerError as error:
        if error.reason != "DatasetInvalid":
            raise
        # A segment that cannot be decoded is equal to no other. The inspection of sounds counts it as a fault.
        return repr(source).encode()


def read_content(source: AudioSource) -> bytes:
    """Return the content of a sound's file. A segment becomes a file of its own.

    Raises DatasetInvalid for a segment that cannot be decoded.
    """
    if isinstance(source, RecordingSegment):
        return _as_file(*_channels(source))
    return audio_files.read_file(source)


def read_samples(source: AudioSource) -> Samples:
    """Return samples (n,) of float32 at 16 kHz in one channel. Raises DatasetInvalid if they cannot be decoded."""
    found, rate = _channels(source)
    return _resampled(mix_down(found, rate).samples, rate)


def measure_loudness(source: AudioSource) -> Loudness:
    """Return how loud the samples of `read_samples` are. Raises DatasetInvalid if they cannot be decoded."""
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
    """Return samples (n, channels) and their rate. At least one sample is left at 16 kHz. Raises DatasetInvalid."""
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
        raise UndecodableError(f"audio file {audio_sources.describe_source(source)} has no sound: it may be cut off")
    if not np.isfinite(found).all():
        raise UndecodableError(f"audio file {audio_sources.describe_source(source)} has samples that are not numbers")
    return found, int(rate)


def _as_file(samples: Samples, rate: int) -> bytes:
    file = io.BytesIO()
    # A WAV file of floats would contain the time of writing.
    soundfile.write(file, samples, rate, format="AU", subtype="FLOAT")
    return file.getvalue()


def _decoded(source: AudioSource) -> Any:
    # A whole sound in a store is read by one request, because seeking would cost further requests.
    is_sought = isinstance(source, RecordingSegment) or (
        isinstance(source, (WholeFile, ByteRange)) and source_files.is_local(source.file)
    )
    with audio_files.open_audio(source) if is_sought else io.BytesIO(read_content(source)) as opened:
        return audio_files.decode_file(lambda sound: _samples(sound, source), opened)


def _samples(sound: soundfile.SoundFile, source: AudioSource) -> Any:
    audio_files.require_size(sound.channels, sound.samplerate)
    if not isinstance(source, RecordingSegment):
        return sound.read(dtype="float32", always_2d=True), sound.samplerate
    sound.seek(source.start_frame)
    found = sound.read(source.frames, dtype="float32", always_2d=True)
    if len(found) < source.frames:
        raise UnreadableSoundError("the recording ends before the segment, it may be cut off")
    return found, sound.samplerate


def mix_down(channels: Samples, sample_rate: int) -> Mono:
    """Return samples (n, channels) as one channel: their average, or the loudest where they cancel each other."""
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
    """Return the power (stretches, channels). It makes no copy of all samples."""
    stretches = (channels[start : start + stretch] for start in range(0, len(channels), stretch))
    return np.array([np.einsum("sc,sc->c", part, part, dtype=np.float64, casting="same_kind") for part in stretches])


SAMPLE_RATE = 16_000
#: The number of samples per frame of the log-mel features.
HOP = 160
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
#: The encoder's second convolution halves the frames.
FRAMES_PER_POSITION = 2
POSITIONS_PER_SECOND = FRAMES_PER_SECOND // FRAMES_PER_POSITION


@dataclass(frozen=True)
class FeatureSettings:
    """The features that a model expects: the number of mel bins, and the length of its window."""

    mel_bins: int
    window_seconds: int


def feature_settings_of(config: Any) -> FeatureSettings:
    """Return the feature settings of a WhisperConfig."""
    return FeatureSettings(config.num_mel_bins, config.max_source_positions // POSITIONS_PER_SECOND)
