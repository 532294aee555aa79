"""What the header of a sound file says, and whether its length can be believed."""

import io
from typing import BinaryIO, NamedTuple

import soundfile

from whisper_finetune_trainer.data.audio import audio_files, mp3_frames, wav_chunks
from whisper_finetune_trainer.data.audio.audio_files import UnknownLengthError, UnreadableSoundError
from whisper_finetune_trainer.data.audio.audio_sources import AudioPlace, Part

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


def read_seconds(place: AudioPlace) -> float:
    """Return a sound's length by its header. UnreadableSoundError, FileNotFoundError or PermissionError."""
    return place.frames / place.sample_rate if isinstance(place, Part) else read_header(place).seconds


def read_header(place: AudioPlace) -> Header:
    """Return what a sound file's header says, of a segment its recording's. Raises what `seconds` does."""
    with audio_files.open_audio(place) as opened:
        found = audio_files.decode_file(soundfile.info, opened)
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
            f"decoded at most; {audio_files.CONVERT}"
        )


def _require_its_end(opened: BinaryIO) -> None:
    """Raise UnreadableSoundError for a WAV file that holds less or more samples than its header tells of."""
    opened.seek(0)
    data = wav_chunks.find_samples(opened.read(wav_chunks.HEAD_BYTES))
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
