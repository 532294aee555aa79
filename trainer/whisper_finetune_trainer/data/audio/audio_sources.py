"""Where the sound of a clip lies, and which segment of a recording it is. Pure: `audio_files` opens what is named here.

A file is a path of this machine, or an address such as s3://bucket/key: nothing is copied to be read. Segments are
those that NeMo's manifests and Kaldi's `segments` name, in seconds.
"""

import math
from typing import Any, NamedTuple, Optional, Tuple, Union

from whisper_finetune_trainer.messages.errors import quoted


class WholeFile(NamedTuple):
    """A sound file of its own."""

    file: str


class ByteRange(NamedTuple):
    """`size` bytes from `offset` of a file that holds many sounds, such as a tar shard."""

    file: str
    offset: int
    size: int
    name: str


class ParquetCell(NamedTuple):
    """A cell of a Parquet file: bytes, or a struct that has `bytes`. Rows count from the row group's first."""

    file: str
    row_group: int
    row: int
    column: str


class InMemory(NamedTuple):
    """A sound file in memory, and where it was read: a stream passes by each file once."""

    content: bytes
    origin: Union[ByteRange, ParquetCell]

    @property
    def file(self) -> str:
        """Return the file that it was read from."""
        return self.origin.file


class RecordingSegment(NamedTuple):
    """`frames` of a long recording from `start_frame` on, counted at its own sampling rate."""

    recording: Union[WholeFile, ByteRange]
    start_frame: int
    frames: int
    sample_rate: int

    @property
    def file(self) -> str:
        """Return the file that the recording is."""
        return self.recording.file

    @property
    def recording_name(self) -> str:
        """Return the data set's file that the recording is, wherever it is kept."""
        return self.recording.name if isinstance(self.recording, ByteRange) else self.recording.file


#: A sound that is all of a file.
AudioFile = Union[WholeFile, ByteRange, ParquetCell, InMemory]
AudioSource = Union[AudioFile, RecordingSegment]


def describe_source(source: AudioSource) -> str:
    """Return a source in words, as a message names it."""
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
    """What a row has in its audio column where it is not a path, and the name that the clip goes by."""

    source: AudioSource
    name: str


#: How far a segment may go beyond its recording's end: Kaldi's own tools cut it there, and refuse more.
_OVERSHOOT_SECONDS = 0.5
#: A manifest's duration is rounded, and tools differ in how long an MP3 file is: a row that lacks less of its file, in
#: seconds or in parts of it, means the file.
_ROUNDING_SECONDS = 0.05
_ROUNDING_PART = 0.02


class MalformedSegmentError(ValueError):
    """What is not a segment at all, in words."""


class OutsideError(Exception):
    """A segment that its recording does not hold, in words."""


class Segment(NamedTuple):
    """Seconds of a recording. Without an end, up to the recording's own."""

    start_seconds: float
    end_seconds: Optional[float] = None

    def __str__(self) -> str:
        """Return it as clips are named: to the millisecond, and no longer than need be."""
        return f"{_milliseconds(self.start_seconds)}-{_milliseconds(self.end_seconds)} s"


def make_segment(start: Any, end: Any) -> Segment:
    """Return the segment between two numbers, an end of None being the recording's. MalformedSegmentError."""
    start_seconds = seconds_of(start)
    end_seconds = None if end is None else seconds_of(end)
    if start_seconds < 0 or (end_seconds is not None and end_seconds <= start_seconds):
        raise MalformedSegmentError(f"is not a segment: it begins at {quoted(start)} s and ends at {quoted(end)} s")
    return Segment(start_seconds, end_seconds)


def is_whole_recording(segment: Segment, recording_seconds: float) -> bool:
    """Return whether a segment is all of its recording, as far as numbers in manifests are exact."""
    if segment.start_seconds > 0 or segment.end_seconds is None:
        return segment.start_seconds == 0
    lacking = recording_seconds - segment.end_seconds
    return -_OVERSHOOT_SECONDS < lacking < max(_ROUNDING_SECONDS, _ROUNDING_PART * recording_seconds)


def frames_of_segment(segment: Segment, recording_frames: int, sample_rate: int) -> Tuple[int, int]:
    """Return a segment's first frame and how many it has, above zero. OutsideError."""
    seconds = recording_frames / sample_rate
    end_seconds = seconds if segment.end_seconds is None else segment.end_seconds
    # Cut in seconds first: a number with three hundred digits cannot be counted in frames.
    start, end = (round(min(each, seconds) * sample_rate) for each in (segment.start_seconds, end_seconds))
    end = min(end, recording_frames)
    if end <= start or end_seconds > seconds + _OVERSHOOT_SECONDS:
        raise OutsideError(f"lasts {seconds:.2f} s, and does not hold the segment {quoted(segment)}")
    return start, end - start


def seconds_of(value: Any) -> float:
    """Return the seconds that a row names. MalformedSegmentError."""
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
