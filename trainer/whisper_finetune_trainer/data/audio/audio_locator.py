"""Where the sounds of clips are read from during the training, and how long they are.

Some sounds are slow to read from their source. They are extracted into the scratch folder, as far as there is room.
These are the sounds in the row groups of Parquet files, and recordings in a store that have many segments. Without room
a clip is read from its source each time, which is slower and gives the same sound.
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
#: How many bytes of a recording are in memory at a time, and fetched by one request.
_CHUNK_BYTES = 4 * 1024 * 1024
logger = logging.getLogger(__name__)


class ExtractedAudio:
    """A file in the pod's scratch folder, to which sounds are appended. It goes with the pod."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        """At most `limit_bytes` are written."""
        # Links are resolved, because local files are opened by their real path.
        self._folder = os.path.realpath(folder)
        self._left_bytes = limit_bytes
        self._file: Optional[int] = None
        self._path = ""
        self._lock = threading.Lock()
        #: How many bytes of the scratch folder are taken.
        self.used_bytes = 0
        #: How many sounds of Parquet files, and how many recordings, did not fit.
        self.left_out = 0
        self.recordings_left_out = 0

    def keep(self, cell: ParquetCell, content: bytes) -> AudioSource:
        """Write a cell's sound into the file and return its new source. Return the cell itself if it does not fit."""
        kept = self._keep(_name(cell), len(content), (content,))
        with self._lock:
            self.left_out += kept is None
        return kept or cell

    def keep_file(self, file: str) -> Optional[ByteRange]:
        """Write a store's file into the file and return its new source, or None if it does not fit.

        Raises what the store raises.
        """
        size = source_files.size_bytes(file)
        kept = self._keep(file, size, source_files.read_chunks(file, _CHUNK_BYTES))
        with self._lock:
            self.recordings_left_out += kept is None
        return kept

    def close(self) -> None:
        """Write no more sounds. Those in the file can still be read."""
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
                "%d recordings did not fit into the scratch folder (%.0f MB taken): their segments are read from the "
                "store every time, by several requests each; give the runtime more scratch space",
                self.recordings_left_out,
                self.used_bytes / 1e6,
            )

    def _keep(self, name: str, size: int, chunks: Iterable[bytes]) -> Optional[ByteRange]:
        """Write `size` bytes and return their new source, or None if they do not fit."""
        with self._lock:
            offset = self._reserve(size)
        if offset is None:
            return None
        # Without the lock: a recording takes a while, and others are fetched at the same time.
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
        """Note that the disk is full. The reserved bytes become free again if they are the last ones."""
        with self._lock:
            self._left_bytes = 0
            if self.used_bytes == offset + size:
                self.used_bytes = offset

    def _write(self, offset: int, size: int, chunks: Iterable[bytes]) -> Optional[int]:
        """Write at most `size` bytes and return how many there were, or None if the disk is full."""
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


#: How many recordings' headers are remembered. In most manifests the rows of one recording follow each other.
_REMEMBERED = 10_000
#: Formats without seeking: everything before a segment is read to find it.
_READ_THROUGH = frozenset(("MP3",))
#: Reading through a recording of at most this length costs little more than reading the clip.
_SHORT_SECONDS = 60.0
_FAULTS = (FileNotFoundError, IsADirectoryError, audio_files.UnreadableSoundError, RefusedFileError)


@dataclass
class _Recording:
    """What is known of a recording. The lock is held while its header is read, or while it is fetched."""

    lock: Any = field(default_factory=threading.Lock)
    header: Optional[Union[Header, Exception]] = None
    kept_in: Optional[Union[WholeFile, ByteRange]] = None
    #: How many threads read it or wait for it.
    readers: int = 0


class AudioLocator:
    """Finds where the sound of a clip is read from during the training, and how long it is.

    Training asks for clips in random order. So two kinds of sounds are extracted once, as long as there is room: a cell
    of a Parquet file, for which the whole row group must be read, and a recording in a store.
    """

    def __init__(self, extracted: ExtractedAudio) -> None:
        """Sounds that are slow to read go into `extracted`."""
        self._extracted = extracted
        self._lock = threading.Lock()
        self._recordings: OrderedDict[str, _Recording] = OrderedDict()
        self._kept: Dict[str, ByteRange] = {}

    def locate(self, source: AudioSource, segment: Optional[Segment]) -> Tuple[AudioSource, float]:
        """Return the source of a sound, or of a segment of a recording, and its length in seconds.

        Raises UnreadableSoundError, OutsideError, FileNotFoundError, and what the store raises. Raises DatasetInvalid
        if a recording would have to be fetched again for each clip.
        """
        if segment is not None and isinstance(source, WholeFile):
            return self._locate_segment(source, segment)
        found = self.keep(source, parquet_cells.read_cell(source)) if isinstance(source, ParquetCell) else source
        return found, audio_files.read_seconds(found)

    def keep(self, cell: ParquetCell, content: bytes) -> AudioSource:
        """Return the source of a cell's sound during the training. `content` is the sound, which has been read."""
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
        """Yield what is known of a recording, to one thread at a time."""
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
        # Only recordings that no thread uses: another one would be read, and fetched, a second time.
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
                # Remembered, because each of its clips would ask the store again.
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
