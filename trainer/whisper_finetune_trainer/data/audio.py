"""Read the sound of clips as mono speech at 16 kHz, wherever it lies."""

import hashlib
import io
from typing import Any, BinaryIO, NamedTuple, Tuple, Union

import numpy as np
import soundfile
import soxr

from whisper_finetune_trainer.data import audio_formats, audio_places, mp3_frames, parquet_shards, source_files
from whisper_finetune_trainer.data.audio_places import AudioPlace, Cell, Held, Member, Part, WholeFile
from whisper_finetune_trainer.data.features import SAMPLE_RATE
from whisper_finetune_trainer.data.file_part import FilePart
from whisper_finetune_trainer.errors import TrainerError

#: Samples from here on count as clipped.
_FULL_SCALE = 0.999
#: Bytes of one request where a segment is sought in a store: ten seconds of speech are 160 to 320 kB.
_SEEK_BLOCK_BYTES = 256 * 1024
#: Bytes of an MP3 file whose frames are looked at: 16 s at 32 kbit/s, and what one request of a header brings anyway.
_FRAMES_BYTES = 64 * 1024


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
    """A sound's samples per second, its largest magnitude (1 is full scale), and the part of it that is clipped."""

    sample_rate: int
    peak: float
    clipped: float


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
        if found.format == "MP3":
            _require_length(opened)
    return Header(int(found.frames), int(found.samplerate), str(found.format))


def digest(place: AudioPlace) -> bytes:
    """Return what tells sounds apart: a hash of the file, or of a part's samples."""
    try:
        return hashlib.blake2b(content(place)).digest()
    except TrainerError as error:
        if error.reason != "DatasetInvalid":
            raise
        # A part that cannot be decoded is like no other; the look at the sounds counts it.
        return audio_places.describe(place).encode()


def content(place: AudioPlace) -> bytes:
    """Return a sound file as it is; of a part a file of its own, DatasetInvalid where it cannot be decoded."""
    if isinstance(place, Part):
        return _as_file(*_channels(place))
    if isinstance(place, Held):
        return place.content
    if isinstance(place, WholeFile):
        return source_files.read_bytes(place.file)
    if isinstance(place, Cell):
        return parquet_shards.content(place)
    return source_files.read_range(place.file, place.offset, place.size)


def read(place: AudioPlace) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return samples (n,) of float32 at 16 kHz, channels averaged; DatasetInvalid if they cannot be decoded."""
    channels, rate = _channels(place)
    mono = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    return np.ascontiguousarray(mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ"))


def loudness(place: AudioPlace) -> Loudness:
    """Return how loud a sound is; DatasetInvalid for one that cannot be decoded."""
    channels, rate = _channels(place)
    magnitudes = np.abs(channels)
    return Loudness(rate, float(magnitudes.max()), float((magnitudes >= _FULL_SCALE).mean()))


def _channels(place: AudioPlace) -> "Tuple[np.ndarray[Any, np.dtype[np.float32]], int]":
    """Return samples (n, channels) at the sound's own rate, n above zero."""
    try:
        with source_files.explained(place.file):
            channels, rate = _decoded(place)
    except FileNotFoundError as error:
        raise TrainerError("DatasetInvalid", f"audio file {audio_places.describe(place)} is gone: {error}") from error
    except UnreadableSoundError as error:
        raise UndecodableError(f"audio file {audio_places.describe(place)} cannot be decoded: {error}") from error
    if not len(channels):
        raise UndecodableError(f"audio file {audio_places.describe(place)} holds no sound: it may be cut off")
    return channels, int(rate)


def _as_file(channels: "np.ndarray[Any, np.dtype[np.float32]]", rate: int) -> bytes:
    file = io.BytesIO()
    # A WAV file of floats would hold the time of writing.
    soundfile.write(file, channels, rate, format="AU", subtype="FLOAT")
    return file.getvalue()


def _decoded(place: AudioPlace) -> Any:
    if isinstance(place, Part):
        with _opened(place) as opened:
            return _checked(lambda file: _sought(file, place), opened)
    # All of it is needed: one request, and no seeking to and fro over a network.
    is_path = isinstance(place, WholeFile) and source_files.is_local(place.file)
    with _opened(place) if is_path else io.BytesIO(content(place)) as opened:
        return _checked(lambda file: soundfile.read(file, dtype="float32", always_2d=True), opened)


def _sought(file: BinaryIO, part: Part) -> Any:
    with soundfile.SoundFile(file) as recording:
        recording.seek(part.start_frame)
        channels = recording.read(part.frames, dtype="float32", always_2d=True)
        if len(channels) < part.frames:
            raise UnreadableSoundError("the recording ends before, it may be cut off")
        return channels, recording.samplerate


def _opened(place: AudioPlace) -> BinaryIO:
    if isinstance(place, Part):
        # Not by its content: an hour would be read for each of its clips.
        file = source_files.open_file(place.file, _SEEK_BLOCK_BYTES)
        whole = place.recording
        return file if isinstance(whole, WholeFile) else io.BufferedReader(FilePart(file, whole.offset, whole.size))
    if isinstance(place, WholeFile):
        return source_files.open_file(place.file)
    if isinstance(place, Member) and not source_files.is_local(place.file):
        # A header is all that is wanted, and the rest would come over the network.
        return io.BufferedReader(FilePart(source_files.open_file(place.file), place.offset, place.size))
    return io.BytesIO(content(place))


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
        foreign = audio_formats.foreign(opened.read(audio_formats.HEAD_BYTES))
        # The error's own text repeats the whole path.
        raise UnreadableSoundError(audio_formats.advice(foreign) if foreign else error.error_string) from error
