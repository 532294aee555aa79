"""Where the sounds of clips are read from in the training, and how long they are."""

import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, Optional, Tuple, Union

from whisper_finetune_trainer.data.audio import audio_files, parquet_cells, segments
from whisper_finetune_trainer.data.audio.audio_files import Header
from whisper_finetune_trainer.data.audio.audio_sources import (
    AudioSource,
    ByteRange,
    ParquetCell,
    RecordingSegment,
    WholeFile,
)
from whisper_finetune_trainer.data.audio.extracted_audio import ExtractedAudio
from whisper_finetune_trainer.data.audio.segments import Segment
from whisper_finetune_trainer.data.files import source_files
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted
from whisper_finetune_trainer.stores.volumes import RefusedFileError

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
            if segments.is_whole_recording(segment, header.seconds):
                return recording, header.seconds
            start, frames = segments.frames_of_segment(segment, header.frames, header.sample_rate)
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
