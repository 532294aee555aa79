"""Open the file of a sound from any source, read how long it is, and say what is wrong with an unreadable one.

libsndfile reads the headers. Two things that it does not tell are found here: a codec that is not supported, and a WAV
file that is shorter or longer than its header says.
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

#: How many bytes one request fetches where a segment is read in place in a store. Ten seconds of speech are 160 to 320
#: kB.
_SEEK_BLOCK_BYTES = 256 * 1024
CONVERT = "convert it, such as by `ffmpeg -i INPUT -ar 16000 -ac 1 OUTPUT.flac`"
#: Formats that are not supported, by the first bytes of a file.
_FORMATS: Tuple[Tuple[str, Callable[[bytes], bool]], ...] = (
    ("M4A or MP4 (AAC)", lambda head: head[4:8] == b"ftyp"),
    ("AAC", lambda head: head[:2] in {b"\xff\xf1", b"\xff\xf9"}),
    ("WebM or Matroska", lambda head: head[:4] == b"\x1a\x45\xdf\xa3"),
    ("WMA", lambda head: head[:4] == b"\x30\x26\xb2\x75"),
    ("AMR", lambda head: head[:5] == b"#!AMR"),
    ("NIST SPHERE with shorten compression", lambda head: head[:7] == b"NIST_1A"),
)
#: Files that are not sounds at all.
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
    """A sound that cannot be read. Its text says what is wrong. Network faults are other errors."""


class UnknownLengthError(UnreadableSoundError):
    """A sound whose file does not tell its length. Only a part of it would be read."""


def open_audio(source: AudioSource) -> BinaryIO:
    """Open the file of a sound. For a segment it is the recording's. Raises FileNotFoundError or PermissionError."""
    if isinstance(source, RecordingSegment):
        # Its content is not read into memory: that would be an hour of sound for each of its clips.
        whole = source.recording
        if isinstance(whole, WholeFile):
            return source_files.open_file(whole.file, _SEEK_BLOCK_BYTES)
        return source_files.open_range(whole.file, whole.offset, whole.size, _SEEK_BLOCK_BYTES)
    if isinstance(source, WholeFile):
        return source_files.open_file(source.file)
    if isinstance(source, ByteRange):
        # If only the header is wanted, nothing else is read or comes over the network.
        return source_files.open_range(source.file, source.offset, source.size)
    return io.BytesIO(read_file(source))


def read_file(source: AudioFile) -> bytes:
    """Return the content of a sound's file. Raises what a store raises, and DatasetInvalid for broken Parquet."""
    if isinstance(source, InMemory):
        return source.content
    if isinstance(source, WholeFile):
        return source_files.read_bytes(source.file)
    if isinstance(source, ParquetCell):
        return parquet_cells.read_cell(source)
    return source_files.read_range(source.file, source.offset, source.size)


def decode_file(decode: Callable[[soundfile.SoundFile], Found], opened: BinaryIO) -> Found:
    """Return the result of `decode`. UnreadableSoundError says what the file is instead of a sound.

    libsndfile reads a file of this machine itself. It would otherwise call Python for every few bytes, and threads
    that read sounds would mostly wait for each other: two of them read 1.7 times as many sounds this way.
    """
    try:
        with soundfile.SoundFile(_descriptor_of(opened) or opened, closefd=False) as sound:
            return decode(sound)
    except soundfile.LibsndfileError as error:
        opened.seek(0)
        advice = _advice(opened.read(_HEAD_BYTES))
        # The error's own text repeats the whole path.
        raise UnreadableSoundError(advice or error.error_string) from error


def _descriptor_of(opened: BinaryIO) -> Optional[int]:
    """Return the descriptor of a whole file of this machine. A range of a file and a file of a store have none."""
    is_whole = isinstance(opened, io.BufferedReader) and isinstance(opened.raw, io.FileIO)
    return opened.fileno() if is_whole else None


def _advice(head: bytes) -> Optional[str]:
    """Return what a file is and what to do, by its first bytes. Return None for a file that may be a broken sound."""
    codec = _find_unread_codec(head)
    if codec is not None:
        return f"WAV with {codec} is not supported; {CONVERT}"
    sound = next((name for name, matches in _FORMATS if matches(head)), None)
    if sound is not None:
        return f"{sound} is not supported; {CONVERT}"
    return next((said for said, matches in _OTHERS if matches(head)), None)


#: In so many bytes of an MP3 file frames are read: 16 s at 32 kbit/s. One request for a header fetches as many.
_FRAMES_BYTES = 64 * 1024
#: How many samples a second may have in all channels together: as many as eight channels at 48 kHz. Half a minute, the
#: longest clip, then takes 46 MB when it is decoded, and several clips are decoded at a time.
_MOST_PER_SECOND = 8 * 48_000
_WAV = frozenset(("WAV", "WAVEX"))
#: libsndfile returns at least so many frames for a FLAC file that does not tell its length.
_UNKNOWN_FRAMES = 2**62
#: Programs that write a WAV file into a pipe do not know its size. They write this one, or a larger one.
_UNKNOWN_BYTES = 0x7FF0_0000
#: A WAV file may differ by so many bytes from its header, because programs count bytes in different ways.
_FEW_BYTES = 4096


class Header(NamedTuple):
    """The header of a sound file. `format` is libsndfile's name, such as WAV."""

    frames: int
    sample_rate: int
    format: str

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.frames / self.sample_rate


def read_seconds(source: AudioSource) -> float:
    """Return a sound's length in seconds by its header.

    Raises UnreadableSoundError, FileNotFoundError or PermissionError.
    """
    return source.frames / source.sample_rate if isinstance(source, RecordingSegment) else read_header(source).seconds


def read_header(source: AudioSource) -> Header:
    """Return the header of a sound file. For a segment it is the recording's. Raises what `read_seconds` raises."""
    with open_audio(source) as opened:
        header = decode_file(_header_of, opened)
        if header.format == "MP3":
            _require_length(opened)
        if header.format in _WAV:
            _require_its_end(opened)
    if header.frames >= _UNKNOWN_FRAMES:
        raise UnreadableSoundError(
            "its header does not tell its length, like a file that was written into a pipe; "
            "`ffmpeg -i INPUT.flac OUTPUT.flac` writes it"
        )
    return header


def _header_of(sound: soundfile.SoundFile) -> Header:
    require_size(sound.channels, sound.samplerate)
    return Header(int(sound.frames), int(sound.samplerate), str(sound.format))


def require_size(channel_count: int, rate: int) -> None:
    """Raise UnreadableSoundError for a sound that takes more memory than speech needs."""
    if channel_count * rate > _MOST_PER_SECOND:
        raise UnreadableSoundError(
            f"{channel_count} channels of {rate:,} Hz are more than the {_MOST_PER_SECOND:,} samples a second that are "
            f"decoded at most; {CONVERT}"
        )


def _require_its_end(opened: BinaryIO) -> None:
    """Raise UnreadableSoundError for a WAV file with fewer or more samples than its header says."""
    opened.seek(0)
    data = _find_samples(opened.read(_HEAD_BYTES))
    more = 0 if data is None else opened.seek(0, io.SEEK_END) - data.start - data.size
    if data is not None and more < -_FEW_BYTES and data.size < _UNKNOWN_BYTES:
        raise UnreadableSoundError(
            f"its header says {data.size:,} bytes of sound, but it has {data.size + more:,}: it was cut off; "
            "copy it again"
        )
    if data is None or more <= (max(_FEW_BYTES, data.size // 10) if data.size else 0):
        return
    opened.seek(data.start + data.size)
    # A chunk should begin at an even byte, and some programs do not heed that.
    following = opened.read(_CHUNK_HEADER_BYTES + 1)
    if not _is_chunk(following) and not _is_chunk(following[1:]):
        raise UnreadableSoundError(
            f"its header says {data.size:,} bytes of sound, but {more:,} follow, as after a recorder was stopped; "
            "`ffmpeg -ignore_length 1 -i INPUT.wav OUTPUT.wav` writes it anew"
        )


def _require_length(opened: BinaryIO) -> None:
    """Raise UnknownLengthError for an MP3 file with a changing bit rate and without a tag for its length."""
    if not mp3_frames.tells_length(_first_frames(opened)):
        raise UnknownLengthError(
            "its bit rate changes, and it has no tag with its length, so that only a part would be read; "
            "`ffmpeg -i INPUT.mp3 -c copy OUTPUT.mp3` adds the tag"
        )


def _first_frames(opened: BinaryIO) -> bytes:
    """Return the first block after the ID3v2 tags. A tag may contain a picture, and be larger than a block."""
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


#: In so many bytes from a file's start the chunks before the samples are searched for.
_HEAD_BYTES = 4096
#: The bytes of a chunk's name and size.
_CHUNK_HEADER_BYTES = 8
_RIFF_BYTES = 12
_TAG_BYTES = 2
#: Codecs that libsndfile does not support, by their number in the file.
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
#: Codecs that it supports. A file with one of them that cannot be read is broken.
_CODECS_READ = frozenset((0x0001, 0x0002, 0x0003, 0x0006, 0x0007, 0x0011, 0x0031, 0x0055, 0xFFFE))


class _SamplesRange(NamedTuple):
    """Where the samples begin, and their bytes by the header."""

    start: int
    size: int


def _find_unread_codec(head: bytes) -> Optional[str]:
    """Return the name of a WAV file's codec if it is not supported. Return None otherwise, and for other files."""
    found = next((content for name, _, content in _chunks(head) if name == b"fmt "), b"")
    if len(found) < _TAG_BYTES:
        return None
    tag = int.from_bytes(found[:_TAG_BYTES], "little")
    return None if tag in _CODECS_READ else _CODECS.get(tag, f"codec {tag:#06x}")


def _find_samples(head: bytes) -> Optional[_SamplesRange]:
    """Return where the samples of a WAV file are. Return None if `head` does not say it, and for other files."""
    return next((position for name, position, _ in _chunks(head) if name == b"data"), None)


def _is_chunk(header: bytes) -> bool:
    """Return whether bytes are the header of a chunk, whose name has four printable letters."""
    return len(header) >= _CHUNK_HEADER_BYTES and header[:4].isascii() and header[:4].decode("ascii").isprintable()


def _chunks(head: bytes) -> Iterator[Tuple[bytes, _SamplesRange, bytes]]:
    """Yield name, position and content of each chunk up to the samples. The content ends with `head`."""
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
