"""Long recordings that many clips are segments of: each is looked at once, and fetched at most once from a store."""

import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, Optional, Tuple, Union

from whisper_finetune_trainer.data.audio import audio_files, audio_headers, segments
from whisper_finetune_trainer.data.audio.audio_headers import Header
from whisper_finetune_trainer.data.audio.audio_sources import Member, Part, WholeFile
from whisper_finetune_trainer.data.audio.extracted_audio import UnpackedSounds
from whisper_finetune_trainer.data.audio.segments import Segment
from whisper_finetune_trainer.data.files import source_files
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted
from whisper_finetune_trainer.stores.volumes import RefusedFileError

#: Recordings whose headers are remembered: rows of one lie beside each other in most manifests.
_REMEMBERED = 10_000
#: Formats without places to go to: everything before a segment is read to find it.
_READ_THROUGH = frozenset(("MP3",))
#: A recording of no more costs little more to read through than its clip does.
_SHORT_SECONDS = 60.0
_FAULTS = (FileNotFoundError, IsADirectoryError, audio_files.UnreadableSoundError, RefusedFileError)


@dataclass
class _Look:
    """What became of the look at a recording; the lock is held while it is looked at, or fetched."""

    lock: Any = field(default_factory=threading.Lock)
    found: Optional[Union[Header, Exception]] = None
    place: Optional[Union[WholeFile, Member]] = None
    #: Who looks, or waits for it.
    readers: int = 0


class Recordings:
    """Where segments lie. A recording in a store is kept in the scratch folder as long as there is room."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._lock = threading.Lock()
        self._looks: OrderedDict[str, _Look] = OrderedDict()
        self._kept: Dict[str, Member] = {}

    def find(
        self, recording: WholeFile, segment: Segment, unpacked: UnpackedSounds
    ) -> Tuple[Union[WholeFile, Part], float]:
        """Return where a segment lies, and its seconds.

        OutsideError, UnreadableSoundError, FileNotFoundError, and what the store raises; DatasetInvalid where it
        would have to be fetched for each clip.
        """
        with self._held(recording.file) as look:
            header = self._header(look, recording)
            if segments.is_whole(segment, header.seconds):
                return recording, header.seconds
            start, frames = segments.frames(segment, header.frames, header.sample_rate)
            if look.place is None:
                look.place = self._place(recording, header, unpacked)
            return Part(look.place, start, frames, header.sample_rate), frames / header.sample_rate

    @contextmanager
    def _held(self, file: str) -> Iterator[_Look]:
        """Give the look at a recording to one reader at a time."""
        with self._lock:
            look = self._looks.setdefault(file, _Look())
            self._looks.move_to_end(file)
            look.readers += 1
        try:
            with look.lock:
                yield look
        finally:
            with self._lock:
                look.readers -= 1
                self._forget()

    def _forget(self) -> None:
        # One that somebody waits for would be looked at, and fetched, a second time.
        idle = (file for file, look in self._looks.items() if not look.readers)
        oldest = next(idle, None) if len(self._looks) > _REMEMBERED else None
        if oldest is not None:
            del self._looks[oldest]

    @staticmethod
    def _header(look: _Look, recording: WholeFile) -> Header:
        if look.found is None:
            try:
                look.found = audio_headers.header(recording)
            except _FAULTS as error:
                # Each of its clips would ask the store again for what is not there.
                look.found = error
        if isinstance(look.found, Exception):
            raise look.found.with_traceback(None)
        return look.found

    def _place(self, recording: WholeFile, header: Header, unpacked: UnpackedSounds) -> Union[WholeFile, Member]:
        if source_files.is_local(recording.file):
            return recording
        kept = self._kept.get(recording.file) or unpacked.keep_file(recording.file)
        if kept is not None:
            self._kept[recording.file] = kept
            return kept
        if header.format in _READ_THROUGH and header.seconds > _SHORT_SECONDS:
            raise TrainerError(
                "DatasetInvalid",
                f"{quoted(recording.file)} ({header.seconds / 60:.0f} minutes) finds no room in the scratch folder, "
                f"and {header.format} is read from its start to find a segment: each clip would fetch it anew; give "
                "the runtime more scratch space, or convert the recordings to FLAC",
            )
        return recording
