"""Turn the rows of a split into clips. A row that cannot be used becomes a Drop with its reason."""

import logging
import posixpath
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Iterator, List, NamedTuple, Optional, Tuple, Union

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio import audio_files
from whisper_finetune_trainer.data.audio.audio_locator import AudioLocator
from whisper_finetune_trainer.data.audio.audio_sources import (
    MalformedSegmentError,
    NamedAudio,
    OutsideError,
    RecordingSegment,
    Segment,
    WholeFile,
)
from whisper_finetune_trainer.data.audio.decoding import SAMPLE_RATE
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.layouts import row_columns
from whisper_finetune_trainer.data.layouts.row_columns import Row
from whisper_finetune_trainer.data.layouts.split_files import Split
from whisper_finetune_trainer.data.text_rules import Outcome, TextRules, TimedText
from whisper_finetune_trainer.messages.errors import escaped, quoted
from whisper_finetune_trainer.stores.volumes import RefusedFileError

#: How many threads open files. They mostly wait for the disk, or for the network behind a volume or a store.
_READERS = 16
#: How many rows are in memory at a time.
_ROWS_AT_ONCE = 2_000
_LOG_EVERY = 10_000
#: The most characters of a text. Half a minute of the fastest speech has a third of them.
_LONGEST_TEXT = 2_000
#: A timestamp may be so much later than the sound's end. Whisper writes them in steps of 0.02 s.
_ROUNDING_SECONDS = 0.1
#: Matches absolute paths of Windows, such as C:\Users\anna and \\server\share.
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipRules:
    """The rules for rows: how long a clip may be, and what is done to its text."""

    max_clip_seconds: int
    text: TextRules


@dataclass
class ClipsRead:
    """The clips of a split in their order, the rows left out, and how often each rule changed a text."""

    clips: List[Clip] = field(default_factory=list)
    drops: List[Drop] = field(default_factory=list)
    rewritten: "Counter[str]" = field(default_factory=Counter)
    #: How many rows name each language, if there is a column for it.
    languages: "Counter[str]" = field(default_factory=Counter)
    language_column: str = ""

    @property
    def rows(self) -> int:
        """How many rows there were."""
        return len(self.clips) + len(self.drops)


@dataclass(frozen=True)
class ClipReader:
    """Makes clips of rows by the rules of a run."""

    rules: ClipRules
    #: It owns the extracted sounds, and all readers of the run share it.
    locator: AudioLocator

    def read_clips(self, split: Split) -> ClipsRead:
        """Return the clips of a split. The header of each sound is read. Network faults pass through."""

        def read(row: Row) -> Tuple[Union[Clip, Drop], Outcome]:
            return self.read_clip(split, row)

        found = ClipsRead(language_column=split.columns.language or "")
        with source_files.reader_pool(_READERS) as readers:
            # In portions, because the pool would take all rows of a split into memory before it begins.
            for rows in iter(lambda: list(islice(split.rows, _ROWS_AT_ONCE)), []):
                found.languages.update(map(split.language_of, rows))
                for result, outcome in readers.map(read, rows):
                    found.rewritten.update(outcome.rules)
                    _keep(found, result, split.name)
        return found

    def read_clip(self, split: Split, row: Row) -> Tuple[Union[Clip, Drop], Outcome]:
        """Return the clip of a row, or why it is left out, and its text after all rules."""
        text = row.values.get(split.columns.text)
        # A text that is too long is left out before any rule sees it.
        outcome = self.rules.text.apply(text if isinstance(text, str) and len(text) <= _LONGEST_TEXT else "")
        line = _Line(split.name, split.unit, row.number)
        found = _broken_text(split, row, line) or _spoken_row(split, row, outcome, line)
        return (found if isinstance(found, Drop) else _with_length(found, self.rules, self.locator)), outcome


def _keep(found: ClipsRead, result: Union[Clip, Drop], name: str) -> None:
    if isinstance(result, Clip):
        found.clips.append(result)
    else:
        found.drops.append(result)
    if found.rows % _LOG_EVERY == 0:
        logger.info("%s: %d rows read", name, found.rows)


class _Line(NamedTuple):
    """The name of a row in messages. It is only put into words if there is a message."""

    name: str
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{quoted(self.name)} {self.unit} {self.number}"


@dataclass(frozen=True)
class _Spoken:
    """A row whose text can be used, and whose sound is not located yet."""

    line: _Line
    sound: NamedAudio
    text: str
    segment: Optional[Segment]
    #: The clip's name, if its layout gives one.
    name: Optional[str]
    speaker: str
    timed: Tuple[TimedText, ...]


def _broken_text(split: Split, row: Row, line: _Line) -> Optional[Drop]:
    text = row.values.get(split.columns.text)
    if row.broken or not isinstance(text, (str, type(None))):
        fault = row.broken or f"has a value in column {quoted(split.columns.text)} that is not text"
        return Drop("broken line", f"{line} {fault}")
    if text is not None and len(text) > _LONGEST_TEXT:
        return Drop("text too long", f"{line} has a text of {len(text):,} characters; {_LONGEST_TEXT:,} are the most")
    return None


def _spoken_row(split: Split, row: Row, outcome: Outcome, line: _Line) -> Union[_Spoken, Drop]:
    sound = _sound_of_row(split, row, line)
    if isinstance(sound, Drop):
        return sound
    if _has_lone_surrogates(outcome.text):
        return Drop("broken line", f"{line}: the text of {quoted(sound.name)} has lone surrogates")
    try:
        segment = _segment(row, sound)
    except MalformedSegmentError as error:
        return Drop("broken line", f"{line} {error}")
    if outcome.dropped_as is not None:
        text = row.values[split.columns.text]
        example = f"{line}: {quoted(sound.name)} is left out by the data set's text rules: {quoted(text)}"
        return Drop(outcome.dropped_as, example, is_expected=True)
    if not outcome.text:
        return Drop("empty text", f"{line}: the text of {quoted(sound.name)} is empty")
    return _Spoken(line, sound, outcome.text, segment, row.name, split.speaker_of(row), outcome.timed)


def _segment(row: Row, sound: NamedAudio) -> Optional[Segment]:
    """Return the segment of a recording that a row names, or None for a sound of its own.

    Raises MalformedSegmentError.
    """
    if not isinstance(sound.source, WholeFile):
        # The sound was cut out of its recording when it was packed. The list still has the segment.
        return None
    return row.segment or row_columns.find_segment(row.values)


def _with_length(spoken: _Spoken, rules: ClipRules, locator: AudioLocator) -> Union[Clip, Drop]:
    line, sound, segment = spoken.line, spoken.sound, spoken.segment
    try:
        source, seconds = locator.locate(sound.source, segment)
    except FileNotFoundError:
        return Drop("missing audio file", f"{line}: audio file {quoted(sound.name)} does not exist")
    except (audio_files.UnreadableSoundError, IsADirectoryError, RefusedFileError) as error:
        return _unreadable(f"{line}: audio file {quoted(sound.name)}", error)
    except OutsideError as error:
        return Drop("outside of its recording", f"{line}: {quoted(sound.name)} {error}")
    name = spoken.name or (f"{sound.name} {segment}" if isinstance(source, RecordingSegment) else sound.name)
    # A sound of less than one sample at the model's rate has no sample once it is resampled.
    if seconds * SAMPLE_RATE < 1:
        return Drop("unreadable audio", f"{line}: audio file {quoted(sound.name)} has no sound")
    if seconds > rules.max_clip_seconds:
        limit = f"maxClipSeconds is {rules.max_clip_seconds}"
        return Drop("too long", f"{line}: {quoted(name)} lasts {seconds:.1f} s; {limit}")
    # Timestamps beyond the sound are those of another cut of it.
    timed = spoken.timed if spoken.timed and spoken.timed[-1].end_seconds <= seconds + _ROUNDING_SECONDS else ()
    return Clip(name, source, spoken.text, seconds, spoken.speaker, timed)


def _unreadable(what: str, error: Exception) -> Drop:
    if isinstance(error, IsADirectoryError):
        return Drop("unreadable audio", f"{what} is a folder")
    said = f"{what} cannot be read: {escaped(str(error))}"
    is_unknown_length = isinstance(error, audio_files.UnknownLengthError)
    return Drop("MP3 without its length" if is_unknown_length else "unreadable audio", said)


def _sound_of_row(split: Split, row: Row, line: _Line) -> Union[NamedAudio, Drop]:
    """Return the sound that a row names. It is in the row's shard, or a file in the data set's folder."""
    value = row.values.get(split.columns.audio)
    sound = value if isinstance(value, NamedAudio) else None
    path = sound.name if sound else row_columns.path_of(value)
    if path is None:
        return Drop("broken line", f"{line} has no path in column {quoted(split.columns.audio)}")
    # A name in JSON may have lone surrogates, and a name in a tar file any bytes.
    if _has_lone_surrogates(path):
        return Drop("broken line", f"{line}: the name {quoted(path)} has lone surrogates")
    if sound:
        return sound
    if "\0" in path:
        return Drop("broken line", f"{line}: {quoted(path)} is not a path")
    return _sound_at_path(split, path, line)


def _has_lone_surrogates(text: str) -> bool:
    """Return whether a text has lone surrogates, and so cannot be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _sound_at_path(split: Split, path: str, line: _Line) -> Union[NamedAudio, Drop]:
    try:
        name = _name_in_folder(split, path)
        if name is not None:
            return NamedAudio(WholeFile(split.folder.file(name)), name)
    except RefusedFileError as refused:
        return Drop("path outside of the source", f"{line}: {refused.message}")
    said = f"{quoted(path)} is outside of the data set's folder; make it relative to {quoted(split.name)}"
    return Drop("path outside of the source", f"{line}: {said}")


def _name_in_folder(split: Split, path: str) -> Optional[str]:
    """Return the path of a file relative to the folder, or None for a file outside of it."""
    if _OF_WINDOWS.match(path):
        return None
    if path.isascii() and "\\" not in path:
        return _relative(split, path)
    # A name may really have a backslash, and accented letters in either form. The first spelling that exists is taken.
    spelled = (_relative(split, spelling) for spelling in _spellings(path))
    found = (name for name in spelled if name is not None and split.folder.is_file(name))
    return next(found, _relative(split, path))


def _spellings(path: str) -> Iterator[str]:
    """Yield spellings of a path: as it is, and with slashes for backslashes.

    Both also come with accents composed (NFC), and decomposed (NFD) as macOS writes them.
    """
    for parted in dict.fromkeys((path, path.replace("\\", "/"))):
        yield from dict.fromkeys((parted, *(unicodedata.normalize(form, parted) for form in ("NFC", "NFD"))))


def _relative(split: Split, path: str) -> Optional[str]:
    is_whole = path.startswith("/") or "://" in path
    return split.folder.relative(path if is_whole else posixpath.join(split.base, path))
