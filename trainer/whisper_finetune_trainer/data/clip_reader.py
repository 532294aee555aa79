"""Turn the rows of a split into clips; what cannot be used is left out with its reason."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import List, Optional, Tuple, Union

from whisper_finetune_trainer.data import row_sounds
from whisper_finetune_trainer.data.audio import audio_files, audio_headers, decoding, segments
from whisper_finetune_trainer.data.audio.audio_locator import Recordings
from whisper_finetune_trainer.data.audio.audio_sources import AudioPlace, Cell, Part, Sound, WholeFile
from whisper_finetune_trainer.data.audio.extracted_audio import UnpackedSounds
from whisper_finetune_trainer.data.audio.features import SAMPLE_RATE
from whisper_finetune_trainer.data.audio.segments import MalformedSegmentError, OutsideError, Segment
from whisper_finetune_trainer.data.clips import Clip, Drop
from whisper_finetune_trainer.data.files import reader_threads
from whisper_finetune_trainer.data.layouts.row_columns import Row
from whisper_finetune_trainer.data.layouts.splits import Split
from whisper_finetune_trainer.data.text.text_rules import Outcome, TextRules
from whisper_finetune_trainer.messages.quoting import escaped, quoted
from whisper_finetune_trainer.stores.volumes import RefusedFileError

#: Opening files waits for the disk, or for the network behind a volume or a store.
_READERS = 16
#: Rows that are in memory at a time.
_ROWS_AT_ONCE = 2_000
_LOG_EVERY = 10_000
#: Characters of a text; half a minute of the fastest speech has a third of it.
_LONGEST_TEXT = 2_000
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """What a row must keep to, what is done to its text, and where sounds may be kept that cost much to come by."""

    max_clip_seconds: int
    text: TextRules
    unpacked: UnpackedSounds
    recordings: Recordings = field(default_factory=Recordings)


@dataclass
class ClipsRead:
    """The clips of a split in its order, those left out, and how often each rule changed a text."""

    clips: List[Clip] = field(default_factory=list)
    drops: List[Drop] = field(default_factory=list)
    rewritten: "Counter[str]" = field(default_factory=Counter)
    #: How many rows name each language, in a column that says it.
    languages: "Counter[str]" = field(default_factory=Counter)
    language_column: str = ""

    @property
    def rows(self) -> int:
        """Return how many rows there were."""
        return len(self.clips) + len(self.drops)


def read_clips(split: Split, rules: Rules) -> ClipsRead:
    """Return the clips of a split; the header of each sound is read. Faults of the network pass through."""

    def read(row: Row) -> Tuple[Union[Clip, Drop], Outcome]:
        return read_clip(split, row, rules)

    found = ClipsRead(language_column=split.columns.language or "")
    with reader_threads.pool(_READERS) as readers:
        # By portions: the pool would take all rows of a split into memory before it begins.
        for rows in iter(lambda: list(islice(split.rows, _ROWS_AT_ONCE)), []):
            found.languages.update(map(split.language_of, rows))
            for result, outcome in readers.map(read, rows):
                found.rewritten.update(outcome.rules)
                _keep(found, result, split.name)
    return found


def read_clip(split: Split, row: Row, rules: Rules) -> Tuple[Union[Clip, Drop], Outcome]:
    """Return the clip of a row, or why it is left out, and what became of its text."""
    text = row.values.get(split.columns.text)
    # What is too long is left out before any rule looks at it.
    outcome = rules.text.apply(text if isinstance(text, str) and len(text) <= _LONGEST_TEXT else "")
    return _clip(split, row, outcome, rules), outcome


def _keep(found: ClipsRead, result: Union[Clip, Drop], name: str) -> None:
    if isinstance(result, Clip):
        found.clips.append(result)
    else:
        found.drops.append(result)
    if found.rows % _LOG_EVERY == 0:
        logger.info("%s: %d clips looked at", name, found.rows)


def _clip(split: Split, row: Row, outcome: Outcome, rules: Rules) -> Union[Clip, Drop]:
    line = f"{quoted(split.name)} {split.unit} {row.number}"
    text = row.values.get(split.columns.text)
    if row.broken or not isinstance(text, (str, type(None))):
        fault = row.broken or f"has a value in column {quoted(split.columns.text)} that is no text"
        return Drop("broken line", f"{line} {fault}")
    if text is not None and len(text) > _LONGEST_TEXT:
        return Drop("text too long", f"{line} has a text of {len(text):,} characters; {_LONGEST_TEXT:,} are the most")
    return _clip_of_text(split, row, outcome, rules, line)


def _clip_of_text(split: Split, row: Row, outcome: Outcome, rules: Rules, line: str) -> Union[Clip, Drop]:
    sound = row_sounds.of_row(split, row, line)
    if isinstance(sound, Drop):
        return sound
    if not row_sounds.is_unicode(outcome.text):
        return Drop("broken line", f"{line}: the text of {quoted(sound.name)} has halves of characters")
    segment = _segment(row, sound, line)
    if isinstance(segment, Drop):
        return segment
    if outcome.skipped_by:
        text = row.values[split.columns.text]
        example = f"{line}: {quoted(sound.name)} is left out by the data set's text rules: {quoted(text)}"
        return Drop(f"text rule {outcome.skipped_by}", example, is_expected=True)
    if not outcome.text:
        return Drop("empty text", f"{line}: the text of {quoted(sound.name)} is empty")
    return _with_length(sound, row, segment, outcome.text, line, rules)


def _segment(row: Row, sound: Sound, line: str) -> Union[Segment, Drop, None]:
    """Return the part of its recording that a row is, None for a sound of its own, or what is wrong with it."""
    if not isinstance(sound.place, WholeFile):
        # It was cut when it was packed, whatever the list says that it was packed by.
        return None
    try:
        return row.segment or segments.of_manifest(row.values)
    except MalformedSegmentError as error:
        return Drop("broken line", f"{line} {error}")


def _with_length(
    sound: Sound, row: Row, segment: Optional[Segment], text: str, line: str, rules: Rules
) -> Union[Clip, Drop]:
    try:
        place, seconds = _measured(sound, segment, rules)
    except FileNotFoundError:
        return Drop("missing audio file", f"{line}: audio file {quoted(sound.name)} does not exist")
    except (audio_files.UnreadableSoundError, IsADirectoryError, RefusedFileError) as error:
        return _unreadable(f"{line}: audio file {quoted(sound.name)}", error)
    except OutsideError as error:
        return Drop("outside of its recording", f"{line}: {quoted(sound.name)} {error}")
    name = row.name or (f"{sound.name} {segment}" if isinstance(place, Part) else sound.name)
    # Less than one sample of what a model hears is nothing once it is resampled.
    if seconds * SAMPLE_RATE < 1:
        return Drop("unreadable audio", f"{line}: audio file {quoted(sound.name)} holds no sound")
    if seconds > rules.max_clip_seconds:
        limit = f"maxClipSeconds is {rules.max_clip_seconds}"
        return Drop("too long", f"{line}: {quoted(name)} lasts {seconds:.1f} s; {limit}")
    return Clip(name, place, text, seconds)


def _unreadable(what: str, error: Exception) -> Drop:
    if isinstance(error, IsADirectoryError):
        return Drop("unreadable audio", f"{what} is a folder")
    reason = "MP3 without its length" if isinstance(error, audio_files.UnknownLengthError) else "unreadable audio"
    return Drop(reason, f"{what} cannot be read: {escaped(str(error))}")


def _measured(sound: Sound, segment: Optional[Segment], rules: Rules) -> Tuple[AudioPlace, float]:
    if segment is not None and isinstance(sound.place, WholeFile):
        return rules.recordings.find(sound.place, segment, rules.unpacked)
    place = _unpacked(sound, rules.unpacked)
    return place, audio_headers.seconds(place)


def _unpacked(sound: Sound, unpacked: UnpackedSounds) -> AudioPlace:
    # Training asks for clips in random order, and a cell alone costs the whole row group that it lies in.
    if not isinstance(sound.place, Cell):
        return sound.place
    return unpacked.keep(sound.place, decoding.content(sound.place))
