"""Where the sound of a clip lies. Pure: `audio_files` opens what is named here.

A file is a path of this machine, or an address such as s3://bucket/key: nothing is copied to be read.
"""

from typing import NamedTuple, Union

from whisper_finetune_trainer.messages.quoting import quoted


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
