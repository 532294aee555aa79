"""Where the sound of a clip is, and which segment of a recording it is. Pure. `audio_files` opens these sources.

A file is named by a local path, or by an address such as s3://bucket/key: nothing is copied to be read. Segments are
those in NeMo's manifests and in Kaldi's file `segments`, in seconds.
"""

import math
from typing import Any, NamedTuple, Optional, Tuple, Union

from whisper_finetune_trainer.messages.errors import quoted


class WholeFile(NamedTuple):
    """A sound file of its own."""

    file: str


class ByteRange(NamedTuple):
    """A sound in `size` bytes from `offset` of a file with many sounds, such as a tar shard."""

    file: str
    offset: int
    size: int
    name: str


class ParquetCell(NamedTuple):
    """A cell of a Parquet file with bytes, or with a struct that has `bytes`. Rows count from the row group's start."""

    file: str
    row_group: int
    row: int
    column: str


class InMemory(NamedTuple):
    """A sound file in memory, and where it was read from. A stream reads each file only once."""

    content: bytes
    origin: Union[ByteRange, ParquetCell]

    @property
    def file(self) -> str:
        """The file that it was read from."""
        return self.origin.file


class RecordingSegment(NamedTuple):
    """`frames` of a long recording from `start_frame` on. Frames count at the recording's own sampling rate."""

    recording: Union[WholeFile, ByteRange]
    start_frame: int
    frames: int
    sample_rate: int

    @property
    def file(self) -> str:
        """The file that the recording is in."""
        return self.recording.file

    @property
    def recording_name(self) -> str:
        """The recording's file in the data set, even if it was extracted."""
        return self.recording.name if isinstance(self.recording, ByteRange) else self.recording.file


#: A sound that is a whole file, wherever its bytes are.
AudioFile = Union[WholeFile, ByteRange, ParquetCell, InMemory]
AudioSource = Union[AudioFile, RecordingSegment]


def describe_source(source: AudioSource) -> str:
    """Return the name of a source in messages."""
    if isinstance(source, InMemory):
        return describe_source(source.origin)
    if isinstance(source, RecordingSegment):
        start, end = source.start_frame, source.start_frame + source.frames
        seconds = f"{start / source.sample_rate:.2f} s to {end / source.sample_rate:.2f} s"
        return f"{seconds} of {describe_source(source.recording)}"
    if isinstance(source, ByteRange):
        return f"{quoted(source.name)} of {quoted(source.file)}"
    if isinstance(source, ParquetCell):
        return f"row {source.row} of row group {source.row_group} of {quoted(source.file)}"
    return quoted(source.file)


class NamedAudio(NamedTuple):
    """The value of a row's audio column if it is not a path: a source, and the clip's name."""

    source: AudioSource
    name: str


#: How far a segment may go beyond its recording's end. Kaldi's own tools cut such a segment, and refuse a longer one.
_OVERSHOOT_SECONDS = 0.5
#: A manifest's durations are rounded, and tools differ in the length of an MP3 file. A row that lacks less of its file
#: than this, in seconds or as a fraction, means the whole file.
_ROUNDING_SECONDS = 0.05
_ROUNDING_PART = 0.02


class MalformedSegmentError(ValueError):
    """Values that do not name a segment. The text says why."""


class OutsideError(Exception):
    """A segment that is not inside of its recording. The text says how."""


class Segment(NamedTuple):
    """A segment of a recording, in seconds. Without an end it goes to the recording's end."""

    start_seconds: float
    end_seconds: Optional[float] = None

    def __str__(self) -> str:
        """Return the segment as it is in names of clips: in milliseconds at most, without needless zeros."""
        return f"{_milliseconds(self.start_seconds)}-{_milliseconds(self.end_seconds)} s"


def make_segment(start: Any, end: Any) -> Segment:
    """Return the segment between two numbers. An end of None is the recording's. Raises MalformedSegmentError."""
    start_seconds = seconds_of(start)
    end_seconds = None if end is None else seconds_of(end)
    if start_seconds < 0 or (end_seconds is not None and end_seconds <= start_seconds):
        raise MalformedSegmentError(f"is not a segment: it begins at {quoted(start)} s and ends at {quoted(end)} s")
    return Segment(start_seconds, end_seconds)


def is_whole_recording(segment: Segment, recording_seconds: float) -> bool:
    """Return whether a segment is its whole recording, as far as numbers in manifests are exact."""
    if segment.start_seconds > 0 or segment.end_seconds is None:
        return segment.start_seconds == 0
    lacking = recording_seconds - segment.end_seconds
    return -_OVERSHOOT_SECONDS < lacking < max(_ROUNDING_SECONDS, _ROUNDING_PART * recording_seconds)


def frames_of_segment(segment: Segment, recording_frames: int, sample_rate: int) -> Tuple[int, int]:
    """Return a segment's first frame, and how many frames it has (at least one). Raises OutsideError."""
    seconds = recording_frames / sample_rate
    end_seconds = seconds if segment.end_seconds is None else segment.end_seconds
    # Limited in seconds first, because a number with three hundred digits cannot be converted to frames.
    start, end = (round(min(each, seconds) * sample_rate) for each in (segment.start_seconds, end_seconds))
    end = min(end, recording_frames)
    if end <= start or end_seconds > seconds + _OVERSHOOT_SECONDS:
        raise OutsideError(f"lasts {seconds:.2f} s, and does not contain the segment {quoted(segment)}")
    return start, end - start


def seconds_of(value: Any) -> float:
    """Return a value of a row as seconds. Raises MalformedSegmentError."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedSegmentError(
            f"is not a segment: {quoted(f'{value!r:.40}')} is not a number of seconds"
        ) from error
    if not math.isfinite(found) or isinstance(value, bool):
        raise MalformedSegmentError(f"is not a segment: {quoted(f'{value!r:.40}')} is not a number of seconds")
    return found


def _milliseconds(seconds: Optional[float]) -> str:
    return "" if seconds is None else f"{seconds:.3f}".rstrip("0").rstrip(".")
