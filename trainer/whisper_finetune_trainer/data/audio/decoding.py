"""Read the sound of clips as mono speech at 16 kHz, wherever it lies."""

import hashlib
import io
from typing import Any, BinaryIO, NamedTuple, Tuple, Union

import numpy as np
import soundfile
import soxr

from whisper_finetune_trainer.data.audio import (
    audio_formats,
    audio_sources,
    channels,
    mp3_frames,
    parquet_cells,
    wav_chunks,
)
from whisper_finetune_trainer.data.audio.audio_sources import AudioPlace, Cell, Held, Member, Part, WholeFile
from whisper_finetune_trainer.data.audio.channels import Samples
from whisper_finetune_trainer.data.audio.features import SAMPLE_RATE
from whisper_finetune_trainer.data.files import source_files
from whisper_finetune_trainer.data.files.byte_range import FilePart
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import printable

#: Samples from here on count as clipped.
_FULL_SCALE = 0.999
#: Bytes of one request where a segment is sought in a store: ten seconds of speech are 160 to 320 kB.
_SEEK_BLOCK_BYTES = 256 * 1024
#: Bytes of an MP3 file whose frames are looked at: 16 s at 32 kbit/s, and what one request of a header brings anyway.
_FRAMES_BYTES = 64 * 1024
#: Numbers that a second may have in all channels together: as many as eight channels in 48 kHz. Half a minute, which is
#: the longest clip, is then 46 MB as it is decoded, and several are decoded at a time.
_MOST_PER_SECOND = 8 * 48_000
_WAV = frozenset(("WAV", "WAVEX"))
#: What libsndfile says of a FLAC file that does not tell its length.
_UNKNOWN_FRAMES = 2**62
#: From here on the size in a WAV file's header is what programs write into a pipe: they do not know it yet.
_UNKNOWN_BYTES = 0x7FF0_0000
#: Bytes that a WAV file may have more or less than its header tells of: programs count them in different ways.
_FEW_BYTES = 4096


class Header(NamedTuple):
    """What a sound file's header says; `format` is libsndfile's name, such as WAV."""

    frames: int
    sample_rate: int
    format: str

    @property
    def seconds(self) -> float:
        """Return the length."""
        return self.frames / self.sample_rate


class Loudness(NamedTuple):
    """What is heard of a sound: how loud what is trained on is (1 is full scale), and what was done to its channels."""

    sample_rate: int
    #: The largest deviation from the average: a steady voltage is no sound.
    peak: float
    #: The part of the recorded samples that is clipped.
    clipped: float
    #: Whether only the loudest channel is heard, because all together cancel each other.
    is_one_channel: bool


class UnreadableSoundError(Exception):
    """What is wrong with a sound, in words; a fault of the network is another matter, and passes through."""


class UnknownLengthError(UnreadableSoundError):
    """A sound whose length its file does not tell: only a part of it would be read."""


class UndecodableError(TrainerError):
    """DatasetInvalid of a sound that is there, and that nobody can decode."""

    def __init__(self, message: str) -> None:
        """`message` names the sound."""
        super().__init__("DatasetInvalid", message)


def seconds(place: AudioPlace) -> float:
    """Return a sound's length by its header; UnreadableSoundError, FileNotFoundError or PermissionError."""
    return place.frames / place.sample_rate if isinstance(place, Part) else header(place).seconds


def header(place: AudioPlace) -> Header:
    """Return what a sound file's header says, of a part its recording's; raises what `seconds` does."""
    with _opened(place) as opened:
        found = _checked(soundfile.info, opened)
        _require_size(found.channels, found.samplerate)
        if found.format == "MP3":
            _require_length(opened)
        if found.format in _WAV:
            _require_its_end(opened)
    if found.frames >= _UNKNOWN_FRAMES:
        raise UnreadableSoundError(
            "its header does not tell its length, as of one that was written into a pipe; "
            "`ffmpeg -i INPUT.flac OUTPUT.flac` writes it"
        )
    return Header(int(found.frames), int(found.samplerate), str(found.format))


def digest(place: AudioPlace) -> bytes:
    """Return what tells sounds apart: a hash of the file, or of a part's samples."""
    try:
        return hashlib.blake2b(content(place)).digest()
    except TrainerError as error:
        if error.reason != "DatasetInvalid":
            raise
        # A part that cannot be decoded is like no other; the look at the sounds counts it.
        return repr(place).encode()


def content(place: AudioPlace) -> bytes:
    """Return a sound file as it is; of a part a file of its own, DatasetInvalid where it cannot be decoded."""
    if isinstance(place, Part):
        return _as_file(*_channels(place))
    if isinstance(place, Held):
        return place.content
    if isinstance(place, WholeFile):
        return source_files.read_bytes(place.file)
    if isinstance(place, Cell):
        return parquet_cells.read_cell(place)
    return source_files.read_range(place.file, place.offset, place.size)


def read(place: AudioPlace) -> Samples:
    """Return samples (n,) of float32 at 16 kHz in one channel; DatasetInvalid if they cannot be decoded."""
    found, rate = _channels(place)
    return _resampled(channels.mono(found, rate).samples, rate)


def loudness(place: AudioPlace) -> Loudness:
    """Return how loud what `read` returns is; DatasetInvalid for a sound that cannot be decoded."""
    found, rate = _channels(place)
    heard = channels.mono(found, rate)
    samples = _resampled(heard.samples, rate)
    peak = float(np.abs(samples - samples.mean(dtype=np.float64)).max())
    clipped = float((np.abs(found) >= _FULL_SCALE).mean())
    return Loudness(rate, peak, clipped, heard.is_one_channel)


def require_decodable(place: AudioPlace) -> None:
    """Raise DatasetInvalid for a sound that cannot be decoded."""
    _channels(place)


def _resampled(samples: Samples, rate: int) -> Samples:
    return np.ascontiguousarray(
        samples if rate == SAMPLE_RATE else soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
    )


def _channels(place: AudioPlace) -> Tuple[Samples, int]:
    """Return samples (n, channels) at the sound's own rate, at least one of them left at 16 kHz."""
    try:
        with source_files.explained(place.file):
            found, rate = _decoded(place)
    except FileNotFoundError as error:
        raise TrainerError("DatasetInvalid", f"audio file {audio_sources.describe(place)} is gone") from error
    except UnreadableSoundError as error:
        raise UndecodableError(
            f"audio file {audio_sources.describe(place)} cannot be decoded: {printable(str(error))}"
        ) from error
    if len(found) * SAMPLE_RATE < rate:
        raise UndecodableError(f"audio file {audio_sources.describe(place)} holds no sound: it may be cut off")
    if not np.isfinite(found).all():
        raise UndecodableError(f"audio file {audio_sources.describe(place)} holds samples that are no numbers")
    return found, int(rate)


def _as_file(samples: Samples, rate: int) -> bytes:
    file = io.BytesIO()
    # A WAV file of floats would hold the time of writing.
    soundfile.write(file, samples, rate, format="AU", subtype="FLOAT")
    return file.getvalue()


def _decoded(place: AudioPlace) -> Any:
    # Of a store all of it is needed: one request, and no seeking to and fro over a network.
    is_sought = isinstance(place, Part) or (
        isinstance(place, (WholeFile, Member)) and source_files.is_local(place.file)
    )
    with _opened(place) if is_sought else io.BytesIO(content(place)) as opened:
        return _checked(lambda file: _samples(file, place), opened)


def _samples(file: BinaryIO, place: AudioPlace) -> Any:
    with soundfile.SoundFile(file) as sound:
        _require_size(sound.channels, sound.samplerate)
        if not isinstance(place, Part):
            return sound.read(dtype="float32", always_2d=True), sound.samplerate
        sound.seek(place.start_frame)
        found = sound.read(place.frames, dtype="float32", always_2d=True)
        if len(found) < place.frames:
            raise UnreadableSoundError("the recording ends before, it may be cut off")
        return found, sound.samplerate


def _opened(place: AudioPlace) -> BinaryIO:
    if isinstance(place, Part):
        # Not by its content: an hour would be read for each of its clips.
        file = source_files.open_file(place.file, _SEEK_BLOCK_BYTES)
        whole = place.recording
        return file if isinstance(whole, WholeFile) else io.BufferedReader(FilePart(file, whole.offset, whole.size))
    if isinstance(place, WholeFile):
        return source_files.open_file(place.file)
    if isinstance(place, Member):
        # A header may be all that is wanted: nothing else is read, or comes over the network.
        return io.BufferedReader(FilePart(source_files.open_file(place.file), place.offset, place.size))
    return io.BytesIO(content(place))


def _require_size(channel_count: int, rate: int) -> None:
    """Raise UnreadableSoundError for a sound that takes more memory than speech does."""
    if channel_count * rate > _MOST_PER_SECOND:
        raise UnreadableSoundError(
            f"{channel_count} channels of {rate:,} Hz are more than the {_MOST_PER_SECOND:,} numbers a second that are "
            f"decoded at most; {audio_formats.CONVERT}"
        )


def _require_its_end(opened: BinaryIO) -> None:
    """Raise UnreadableSoundError for a WAV file that holds less or more samples than its header tells of."""
    opened.seek(0)
    data = wav_chunks.data(opened.read(wav_chunks.HEAD_BYTES))
    more = 0 if data is None else opened.seek(0, io.SEEK_END) - data.start - data.size
    if data is not None and more < -_FEW_BYTES and data.size < _UNKNOWN_BYTES:
        raise UnreadableSoundError(
            f"its header tells of {data.size:,} bytes of sound, but {data.size + more:,} are there: it was cut off; "
            "copy it again"
        )
    if data is None or more <= (max(_FEW_BYTES, data.size // 10) if data.size else 0):
        return
    opened.seek(data.start + data.size)
    # A chunk begins at an even byte, and programs forget it.
    following = opened.read(wav_chunks.CHUNK_HEADER_BYTES + 1)
    if not wav_chunks.is_chunk(following) and not wav_chunks.is_chunk(following[1:]):
        raise UnreadableSoundError(
            f"its header tells of {data.size:,} bytes of sound, but {more:,} follow, as where a recorder was stopped; "
            "`ffmpeg -ignore_length 1 -i INPUT.wav OUTPUT.wav` writes it anew"
        )


def _require_length(opened: BinaryIO) -> None:
    """Raise UnknownLengthError for an MP3 file whose bit rate changes and that has no tag with its length."""
    if not mp3_frames.tells_length(_first_frames(opened)):
        raise UnknownLengthError(
            "its bit rate changes, and it has no tag with its length, so that only a part would be read; "
            "`ffmpeg -i INPUT.mp3 -c copy OUTPUT.mp3` adds the tag"
        )


def _first_frames(opened: BinaryIO) -> bytes:
    """Return the block behind the ID3v2 tags, which may hold a picture and be larger than one."""
    place = opened.seek(0)
    block = opened.read(_FRAMES_BYTES)
    while tag_bytes := mp3_frames.id3_bytes(block):
        place += tag_bytes
        if tag_bytes + mp3_frames.ID3_BYTES > len(block):
            opened.seek(place)
            block = opened.read(_FRAMES_BYTES)
        else:
            block = block[tag_bytes:]
    return block


def _checked(decode: Any, opened: Union[BinaryIO, io.BytesIO]) -> Any:
    try:
        return decode(opened)
    except soundfile.LibsndfileError as error:
        opened.seek(0)
        advice = audio_formats.advice(opened.read(audio_formats.HEAD_BYTES))
        # The error's own text repeats the whole path.
        raise UnreadableSoundError(advice or error.error_string) from error
