"""Open the file of a sound, wherever it lies, and say what is wrong with one that cannot be read."""

import io
from typing import BinaryIO, Callable, Optional, Tuple, TypeVar

import soundfile

from whisper_finetune_trainer.data.audio import parquet_cells, wav_chunks
from whisper_finetune_trainer.data.audio.audio_sources import AudioFile, AudioPlace, Cell, Held, Member, Part, WholeFile
from whisper_finetune_trainer.data.files import source_files
from whisper_finetune_trainer.stores import volumes

#: Bytes of one request where a segment is sought in a store: ten seconds of speech are 160 to 320 kB.
_SEEK_BLOCK_BYTES = 256 * 1024
CONVERT = "convert it, such as by `ffmpeg -i INPUT -ar 16000 -ac 1 OUTPUT.flac`"
#: What is not read here, by the first bytes of a file.
_FORMATS: Tuple[Tuple[str, Callable[[bytes], bool]], ...] = (
    ("M4A or MP4 (AAC)", lambda head: head[4:8] == b"ftyp"),
    ("AAC", lambda head: head[:2] in {b"\xff\xf1", b"\xff\xf9"}),
    ("WebM or Matroska", lambda head: head[:4] == b"\x1a\x45\xdf\xa3"),
    ("WMA", lambda head: head[:4] == b"\x30\x26\xb2\x75"),
    ("AMR", lambda head: head[:5] == b"#!AMR"),
    ("NIST SPHERE with shorten compression", lambda head: head[:7] == b"NIST_1A"),
)
#: What is no sound at all.
_OTHERS: Tuple[Tuple[str, Callable[[bytes], bool]], ...] = (
    ("it is empty", lambda head: not head),
    ("it is a page of HTML, not sound", lambda head: head.lstrip()[:9].lower() in {b"<!doctype", b"<html><he"}),
    (
        "it is a pointer of Git LFS, not sound: run `git lfs pull`",
        lambda head: head.startswith(volumes.GIT_LFS),
    ),
)
Found = TypeVar("Found")


class UnreadableSoundError(Exception):
    """What is wrong with a sound, in words. A fault of the network is another matter, and passes through."""


class UnknownLengthError(UnreadableSoundError):
    """A sound whose length its file does not tell: only a part of it would be read."""


def open_audio(place: AudioPlace) -> BinaryIO:
    """Return the open file of a sound, of a segment that of its recording. FileNotFoundError or PermissionError."""
    if isinstance(place, Part):
        # Not by its content: an hour would be read for each of its clips.
        whole = place.recording
        if isinstance(whole, WholeFile):
            return source_files.open_file(whole.file, _SEEK_BLOCK_BYTES)
        return source_files.open_range(whole.file, whole.offset, whole.size, _SEEK_BLOCK_BYTES)
    if isinstance(place, WholeFile):
        return source_files.open_file(place.file)
    if isinstance(place, Member):
        # A header may be all that is wanted: nothing else is read, or comes over the network.
        return source_files.open_range(place.file, place.offset, place.size)
    return io.BytesIO(read_file(place))


def read_file(place: AudioFile) -> bytes:
    """Return the file of a sound as it is. What a store raises, and DatasetInvalid for a broken Parquet file."""
    if isinstance(place, Held):
        return place.content
    if isinstance(place, WholeFile):
        return source_files.read_bytes(place.file)
    if isinstance(place, Cell):
        return parquet_cells.read_cell(place)
    return source_files.read_range(place.file, place.offset, place.size)


def decode_file(decode: Callable[[BinaryIO], Found], opened: BinaryIO) -> Found:
    """Return what libsndfile makes of an open file. UnreadableSoundError says what it is instead of a sound."""
    try:
        return decode(opened)
    except soundfile.LibsndfileError as error:
        opened.seek(0)
        advice = _advice(opened.read(wav_chunks.HEAD_BYTES))
        # The error's own text repeats the whole path.
        raise UnreadableSoundError(advice or error.error_string) from error


def _advice(head: bytes) -> Optional[str]:
    """Return what a file is and what to do with it, by its first bytes. None for one that may be a broken sound."""
    codec = wav_chunks.find_unread_codec(head)
    if codec is not None:
        return f"WAV with {codec} is not read here; {CONVERT}"
    sound = next((name for name, matches in _FORMATS if matches(head)), None)
    if sound is not None:
        return f"{sound} is not read here; {CONVERT}"
    return next((said for said, matches in _OTHERS if matches(head)), None)
