"""Where the sounds of clips are read from in the training, and how long they are.

Sounds that cost much to come by where they lie are extracted into the scratch folder as far as it has room. They are
those of Parquet files, taken out of their row groups, and long recordings of a store that many clips are segments of.
Beyond that a clip is read from where it lies each time: slower, and right all the same.
"""

import errno
import logging
import os
import tempfile
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Iterator, Optional, Tuple, Union

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio import audio_files, audio_sources, parquet_cells
from whisper_finetune_trainer.data.audio.audio_files import Header
from whisper_finetune_trainer.data.audio.audio_sources import (
    AudioSource,
    ByteRange,
    ParquetCell,
    RecordingSegment,
    Segment,
    WholeFile,
)
from whisper_finetune_trainer.messages.errors import TrainerError, quoted
from whisper_finetune_trainer.stores.volumes import RefusedFileError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
#: Bytes of a recording that are in memory, and that one request fetches.
_CHUNK_BYTES = 4 * 1024 * 1024
logger = logging.getLogger(__name__)


class ExtractedAudio:
    """One file that sounds are appended to. It lies in the pod's own scratch folder, and ends with it."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        """`limit_bytes` at most are written."""
        # Without links, as files of this machine are opened.
        self._folder = os.path.realpath(folder)
        self._left_bytes = limit_bytes
        self._file: Optional[int] = None
        self._path = ""
        self._lock = threading.Lock()
        #: Bytes of the scratch folder that are taken.
        self.used_bytes = 0
        #: Sounds of Parquet files, and recordings, that found no room.
        self.left_out = 0
        self.recordings_left_out = 0

    def keep(self, cell: ParquetCell, content: bytes) -> AudioSource:
        """Return where a cell's sound lies from now on: in the file, or where it was."""
        kept = self._keep(_name(cell), len(content), (content,))
        with self._lock:
            self.left_out += kept is None
        return kept or cell

    def keep_file(self, file: str) -> Optional[ByteRange]:
        """Return where a store's file lies from now on, None where it does not fit. What the store raises."""
        size = source_files.size_bytes(file)
        kept = self._keep(file, size, source_files.read_chunks(file, _CHUNK_BYTES))
        with self._lock:
            self.recordings_left_out += kept is None
        return kept

    def close(self) -> None:
        """Let go of the file. What is in it stays to be read."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self.left_out:
            logger.warning(
                "%d clips did not fit into the scratch folder (%.0f MB taken): each is read from its row group every "
                "time, which is slow; give the runtime more scratch space, or the data set smaller row groups",
                self.left_out,
                self.used_bytes / 1e6,
            )
        if self.recordings_left_out:
            logger.warning(
                "%d recordings did not fit into the scratch folder (%.0f MB taken): their segments are sought in the "
                "store every time, by several requests each; give the runtime more scratch space",
                self.recordings_left_out,
                self.used_bytes / 1e6,
            )

    def _keep(self, name: str, size: int, chunks: Iterable[bytes]) -> Optional[ByteRange]:
        """Return where `size` bytes lie now, None where they find no room."""
        with self._lock:
            offset = self._reserve(size)
        if offset is None:
            return None
        # Without the lock: a recording takes its time, and others are fetched beside it.
        written = self._write(offset, size, chunks)
        if written is None:
            self._give_back(offset, size)
            return None
        return ByteRange(self._path, offset, written, name)

    def _reserve(self, size: int) -> Optional[int]:
        if size > self._left_bytes:
            return None
        try:
            if self._file is None:
                self._file, self._path = tempfile.mkstemp(prefix="sounds-", dir=self._folder)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            self._left_bytes = 0
            return None
        self._left_bytes -= size
        self.used_bytes += size
        return self.used_bytes - size

    def _give_back(self, offset: int, size: int) -> None:
        """Note that the disk is full. What was reserved is free again where nothing lies behind it."""
        with self._lock:
            self._left_bytes = 0
            if self.used_bytes == offset + size:
                self.used_bytes = offset

    def _write(self, offset: int, size: int, chunks: Iterable[bytes]) -> Optional[int]:
        """Return how many bytes there were, `size` at most. None where the disk is full."""
        written = 0
        for chunk in chunks:
            part = chunk[: size - written]
            if self._write_at(offset + written, part) < len(part):
                return None
            written += len(part)
        return written

    def _write_at(self, offset: int, content: bytes) -> int:
        if self._file is None:
            raise ValueError("the scratch folder's file is closed")
        try:
            return os.pwrite(self._file, content, offset)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            return 0


def _name(cell: ParquetCell) -> str:
    return f"row {cell.row} of row group {cell.row_group} of {cell.file}"


#: Recordings whose headers are remembered: rows of one lie beside each other in most manifests.
_REMEMBERED = 10_000
#: Formats that cannot be sought in: everything before a segment is read to find it.
_READ_THROUGH = frozenset(("MP3",))
#: A recording of no more costs little more to read through than its clip does.
_SHORT_SECONDS = 60.0
_FAULTS = (FileNotFoundError, IsADirectoryError, audio_files.UnreadableSoundError, RefusedFileError)


@dataclass
class _Recording:
    """What is known of a recording. The lock is taken while its header is read, or while it is fetched."""

    lock: Any = field(default_factory=threading.Lock)
    header: Optional[Union[Header, Exception]] = None
    kept_in: Optional[Union[WholeFile, ByteRange]] = None
    #: Who reads, or waits for it.
    readers: int = 0


class AudioLocator:
    """Finds where the sound of a clip is read from in the training, and how long it is.

    Training asks for clips in random order. So what costs much to come by where it lies is extracted once, as long as
    there is room: a cell, which alone costs the whole row group that it lies in, and a recording in a store.
    """

    def __init__(self, extracted: ExtractedAudio) -> None:
        """`extracted` is what takes the audio."""
        self._extracted = extracted
        self._lock = threading.Lock()
        self._recordings: OrderedDict[str, _Recording] = OrderedDict()
        self._kept: Dict[str, ByteRange] = {}

    def locate(self, source: AudioSource, segment: Optional[Segment]) -> Tuple[AudioSource, float]:
        """Return where a sound, or a segment of a whole file, is read from, and its seconds.

        UnreadableSoundError, OutsideError, FileNotFoundError, and what the store raises. DatasetInvalid where a
        recording would have to be fetched for each clip.
        """
        if segment is not None and isinstance(source, WholeFile):
            return self._locate_segment(source, segment)
        found = self.keep(source, parquet_cells.read_cell(source)) if isinstance(source, ParquetCell) else source
        return found, audio_files.read_seconds(found)

    def keep(self, cell: ParquetCell, content: bytes) -> AudioSource:
        """Return where the sound of a cell is read from in the training, given the content that was read of it."""
        return self._extracted.keep(cell, content)

    def _locate_segment(
        self, recording: WholeFile, segment: Segment
    ) -> Tuple[Union[WholeFile, RecordingSegment], float]:
        with self._taken(recording.file) as known:
            header = self._header(known, recording)
            if audio_sources.is_whole_recording(segment, header.seconds):
                return recording, header.seconds
            start, frames = audio_sources.frames_of_segment(segment, header.frames, header.sample_rate)
            if known.kept_in is None:
                known.kept_in = self._keep(recording, header)
            return RecordingSegment(known.kept_in, start, frames, header.sample_rate), frames / header.sample_rate

    @contextmanager
    def _taken(self, file: str) -> Iterator[_Recording]:
        """Give what is known of a recording to one reader at a time."""
        with self._lock:
            known = self._recordings.setdefault(file, _Recording())
            self._recordings.move_to_end(file)
            known.readers += 1
        try:
            with known.lock:
                yield known
        finally:
            with self._lock:
                known.readers -= 1
                self._forget()

    def _forget(self) -> None:
        # One that somebody waits for would be read, and fetched, a second time.
        idle = (file for file, known in self._recordings.items() if not known.readers)
        oldest = next(idle, None) if len(self._recordings) > _REMEMBERED else None
        if oldest is not None:
            del self._recordings[oldest]

    @staticmethod
    def _header(known: _Recording, recording: WholeFile) -> Header:
        if known.header is None:
            try:
                known.header = audio_files.read_header(recording)
            except _FAULTS as error:
                # Each of its clips would ask the store again for what is not there.
                known.header = error
        if isinstance(known.header, Exception):
            raise known.header.with_traceback(None)
        return known.header

    def _keep(self, recording: WholeFile, header: Header) -> Union[WholeFile, ByteRange]:
        if source_files.is_local(recording.file):
            return recording
        kept = self._kept.get(recording.file) or self._extracted.keep_file(recording.file)
        if kept is not None:
            self._kept[recording.file] = kept
            return kept
        if header.format in _READ_THROUGH and header.seconds > _SHORT_SECONDS:
            raise TrainerError(
                "DatasetInvalid",
                f"{quoted(recording.file)} ({header.seconds / 60:.0f} minutes) does not fit into the scratch folder, "
                f"and {header.format} is read from its start to find a segment: each clip would fetch it anew; give "
                "the runtime more scratch space, or convert the recordings to FLAC",
            )
        return recording
