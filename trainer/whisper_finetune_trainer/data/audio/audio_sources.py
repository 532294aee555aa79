"""Where the sound of a clip lies. Pure: `audio_files` opens what is named here.

A file is a path of this machine, or an address such as s3://bucket/key: nothing is copied to be read.
"""

from typing import NamedTuple, Union

from whisper_finetune_trainer.messages.quoting import quoted


class WholeFile(NamedTuple):
    """A sound file of its own."""

    file: str


class Member(NamedTuple):
    """`size` bytes from `offset` of a file that holds many sounds, such as a tar shard."""

    file: str
    offset: int
    size: int
    name: str


class Cell(NamedTuple):
    """A cell of a Parquet file: bytes, or a struct that has `bytes`. Rows count from the row group's first."""

    file: str
    row_group: int
    row: int
    column: str


class Held(NamedTuple):
    """A sound file in memory, and where it was read: a stream passes by each place once."""

    content: bytes
    origin: Union[Member, Cell]

    @property
    def file(self) -> str:
        """Return the file that it was read from."""
        return self.origin.file


class Part(NamedTuple):
    """`frames` of a long recording from `start_frame` on, counted at its own sampling rate."""

    recording: Union[WholeFile, Member]
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
        return self.recording.name if isinstance(self.recording, Member) else self.recording.file


#: A sound that is all of a file.
AudioFile = Union[WholeFile, Member, Cell, Held]
AudioPlace = Union[AudioFile, Part]


def describe(place: AudioPlace) -> str:
    """Return the place in words, as a message names it."""
    if isinstance(place, Held):
        return describe(place.origin)
    if isinstance(place, Part):
        start, end = place.start_frame, place.start_frame + place.frames
        return f"{start / place.sample_rate:.2f} s to {end / place.sample_rate:.2f} s of {describe(place.recording)}"
    if isinstance(place, Member):
        return f"{quoted(place.name)} of {quoted(place.file)}"
    if isinstance(place, Cell):
        return f"row {place.row} of row group {place.row_group} of {quoted(place.file)}"
    return quoted(place.file)


class Sound(NamedTuple):
    """What a row has in its audio column where it is no path: a place, and the name that the clip goes by."""

    place: AudioPlace
    name: str
