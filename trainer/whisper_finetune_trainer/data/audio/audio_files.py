"""Open the file of a sound, wherever it lies, and say how long it is: what is wrong with one that cannot be read.

libsndfile reads the headers. What it does not say, and what nobody else would notice, is looked up here: a codec that
is not read, and a WAV file that ends before or after its header says.
"""

import io
import struct
from typing import BinaryIO, Callable, Dict, Iterator, NamedTuple, Optional, Tuple, TypeVar

import soundfile

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio import mp3_frames, parquet_cells
from whisper_finetune_trainer.data.audio.audio_sources import (
    AudioFile,
    AudioSource,
    ByteRange,
    InMemory,
    ParquetCell,
    RecordingSegment,
    WholeFile,
)
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


def open_audio(source: AudioSource) -> BinaryIO:
    """Return the open file of a sound, of a segment that of its recording. FileNotFoundError or PermissionError."""
    if isinstance(source, RecordingSegment):
        # Not by its content: an hour would be read for each of its clips.
        whole = source.recording
        if isinstance(whole, WholeFile):
            return source_files.open_file(whole.file, _SEEK_BLOCK_BYTES)
        return source_files.open_range(whole.file, whole.offset, whole.size, _SEEK_BLOCK_BYTES)
    if isinstance(source, WholeFile):
        return source_files.open_file(source.file)
    if isinstance(source, ByteRange):
        # A header may be all that is wanted: nothing else is read, or comes over the network.
        return source_files.open_range(source.file, source.offset, source.size)
    return io.BytesIO(read_file(source))


def read_file(source: AudioFile) -> bytes:
    """Return the file of a sound as it is. What a store raises, and DatasetInvalid for a broken Parquet file."""
    if isinstance(source, InMemory):
        return source.content
    if isinstance(source, WholeFile):
        return source_files.read_bytes(source.file)
    if isinstance(source, ParquetCell):
        return parquet_cells.read_cell(source)
    return source_files.read_range(source.file, source.offset, source.size)


def decode_file(decode: Callable[[BinaryIO], Found], opened: BinaryIO) -> Found:
    """Return what libsndfile makes of an open file. UnreadableSoundError says what it is instead of a sound."""
    try:
        return decode(opened)
    except soundfile.LibsndfileError as error:
        opened.seek(0)
        advice = _advice(opened.read(_HEAD_BYTES))
        # The error's own text repeats the whole path.
        raise UnreadableSoundError(advice or error.error_string) from error


def _advice(head: bytes) -> Optional[str]:
    """Return what a file is and what to do with it, by its first bytes. None for one that may be a broken sound."""
    codec = _find_unread_codec(head)
    if codec is not None:
        return f"WAV with {codec} is not read here; {CONVERT}"
    sound = next((name for name, matches in _FORMATS if matches(head)), None)
    if sound is not None:
        return f"{sound} is not read here; {CONVERT}"
    return next((said for said, matches in _OTHERS if matches(head)), None)


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
    """What a sound file's header says. `format` is libsndfile's name, such as WAV."""

    frames: int
    sample_rate: int
    format: str

    @property
    def seconds(self) -> float:
        """Return the length."""
        return self.frames / self.sample_rate


def read_seconds(source: AudioSource) -> float:
    """Return a sound's length by its header. UnreadableSoundError, FileNotFoundError or PermissionError."""
    return source.frames / source.sample_rate if isinstance(source, RecordingSegment) else read_header(source).seconds


def read_header(source: AudioSource) -> Header:
    """Return what a sound file's header says, of a segment its recording's. Raises what `seconds` does."""
    with open_audio(source) as opened:
        found = decode_file(soundfile.info, opened)
        require_size(found.channels, found.samplerate)
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


def require_size(channel_count: int, rate: int) -> None:
    """Raise UnreadableSoundError for a sound that takes more memory than speech does."""
    if channel_count * rate > _MOST_PER_SECOND:
        raise UnreadableSoundError(
            f"{channel_count} channels of {rate:,} Hz are more than the {_MOST_PER_SECOND:,} numbers a second that are "
            f"decoded at most; {CONVERT}"
        )


def _require_its_end(opened: BinaryIO) -> None:
    """Raise UnreadableSoundError for a WAV file that holds less or more samples than its header tells of."""
    opened.seek(0)
    data = _find_samples(opened.read(_HEAD_BYTES))
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
    following = opened.read(_CHUNK_HEADER_BYTES + 1)
    if not _is_chunk(following) and not _is_chunk(following[1:]):
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
    position = opened.seek(0)
    block = opened.read(_FRAMES_BYTES)
    while tag_bytes := mp3_frames.id3_bytes(block):
        position += tag_bytes
        if tag_bytes + mp3_frames.ID3_BYTES > len(block):
            opened.seek(position)
            block = opened.read(_FRAMES_BYTES)
        else:
            block = block[tag_bytes:]
    return block


#: Bytes from a file's start in which the chunks before its sound are looked for.
_HEAD_BYTES = 4096
#: Bytes of a chunk's name and size.
_CHUNK_HEADER_BYTES = 8
_RIFF_BYTES = 12
_TAG_BYTES = 2
#: Codecs that libsndfile does not read, by the number that stands in the file.
_CODECS: Dict[int, str] = {
    0x0020: "Yamaha's ADPCM",
    0x0022: "TrueSpeech",
    0x0042: "G.723.1",
    0x0045: "G.726",
    0x0064: "G.726",
    0x0065: "G.722",
    0x0083: "G.729",
    0x00FF: "AAC",
    0x0161: "WMA",
    0x0162: "WMA",
    0x028F: "G.722",
    0x2000: "AC-3",
    0x674F: "Vorbis",
    0x704F: "Opus",
    0xF1AC: "FLAC",
}
#: Those that it reads: with one of them a file that cannot be read is broken.
_CODECS_READ = frozenset((0x0001, 0x0002, 0x0003, 0x0006, 0x0007, 0x0011, 0x0031, 0x0055, 0xFFFE))


class _SamplesRange(NamedTuple):
    """Where the samples begin, and how many bytes they have by the header."""

    start: int
    size: int


def _find_unread_codec(head: bytes) -> Optional[str]:
    """Return the name of the codec of a WAV file that is not read here. None for others, and for what is no WAV."""
    found = next((content for name, _, content in _chunks(head) if name == b"fmt "), b"")
    if len(found) < _TAG_BYTES:
        return None
    tag = int.from_bytes(found[:_TAG_BYTES], "little")
    return None if tag in _CODECS_READ else _CODECS.get(tag, f"codec {tag:#06x}")


def _find_samples(head: bytes) -> Optional[_SamplesRange]:
    """Return where the samples of a WAV file are, None where that is not in its head, or is no plain WAV file's."""
    return next((position for name, position, _ in _chunks(head) if name == b"data"), None)


def _is_chunk(header: bytes) -> bool:
    """Return whether bytes are the header of a further chunk: its name is four letters."""
    return len(header) >= _CHUNK_HEADER_BYTES and header[:4].isascii() and header[:4].decode("ascii").isprintable()


def _chunks(head: bytes) -> Iterator[Tuple[bytes, _SamplesRange, bytes]]:
    """Yield the name, the position and the content, as far as it is there, of each chunk up to the samples."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return
    position = _RIFF_BYTES
    while position + _CHUNK_HEADER_BYTES <= len(head):
        name, size = struct.unpack_from("<4sI", head, position)
        start = position + _CHUNK_HEADER_BYTES
        yield name, _SamplesRange(start, size), head[start : start + size]
        if name == b"data":
            return
        # Chunks begin at even bytes.
        position = start + size + size % 2
