"""Segments of long recordings, as NeMo's manifests and Kaldi's `segments` name them. Pure."""

import math
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from whisper_finetune_trainer.messages.quoting import quoted

#: How far a segment may go beyond its recording's end: Kaldi's own tools cut it there, and refuse more.
_OVERSHOOT_SECONDS = 0.5
#: A manifest's duration is rounded, and tools differ in how long an MP3 file is: a row that lacks less of its file, in
#: seconds or in parts of it, means the file.
_ROUNDING_SECONDS = 0.05
_ROUNDING_PART = 0.02
#: What a manifest calls a segment's start and length, in seconds.
SEGMENT_COLUMNS = ("offset", "duration")
#: What a row says that names no segment.
_NONE = (None, "")


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
    start_seconds = _number(start)
    end_seconds = None if end is None else _number(end)
    if start_seconds < 0 or (end_seconds is not None and end_seconds <= start_seconds):
        raise MalformedSegmentError(f"is not a segment: it begins at {quoted(start)} s and ends at {quoted(end)} s")
    return Segment(start_seconds, end_seconds)


def find_segment(values: Mapping[str, Any]) -> Optional[Segment]:
    """Return the segment of a row with `offset` and `duration` (seconds), None where it has no offset.

    An offset alone goes to the recording's end. MalformedSegmentError.
    """
    offset, duration = (values.get(column) for column in SEGMENT_COLUMNS)
    if offset in _NONE:
        return None
    start = _number(offset)
    return make_segment(start, None if duration in _NONE else start + _number(duration))


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


def _number(value: Any) -> float:
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
