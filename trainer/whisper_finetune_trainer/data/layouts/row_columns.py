"""The rows of a data set in any layout, and their columns: sound, text, language, speaker and segment. Pure."""

import re
import sys
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_api.languages import LANGUAGE_NAMES, language_code
from whisper_finetune_trainer.data.audio import audio_sources
from whisper_finetune_trainer.data.audio.audio_sources import Segment
from whisper_finetune_trainer.messages.errors import TrainerError, escaped, listed, quoted

_LANGUAGE_COLUMNS = ("language", "lang", "locale", "language_id", "lang_id", "language_code", "lang_code")
_SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id")
#: Separates a language from a country: it-IT, pt_BR, cmn_hans_cn.
_COUNTRY = re.compile(r"[-_]")
_LONGEST_LANGUAGE = 40
_AUDIO_COLUMNS = ("audio", "audio_filepath", "file_name", "path")
_TEXT_COLUMNS = ("text", "sentence", "transcription", "normalized_text", "transcript")
#: The columns with a segment's start and length, in seconds.
SEGMENT_COLUMNS = ("offset", "duration")
#: The values of a row that names no segment.
_NONE = (None, "")


@dataclass(frozen=True)
class Row:
    """One row of a data set: its number, and its values by column. `broken` says what is wrong with it, if anything."""

    number: int
    values: Mapping[str, Any]
    broken: Optional[str] = None
    #: The segment of a recording, if its layout names it outside of the values.
    segment: Optional[Segment] = None
    #: The clip's name, if that is not the name of its file.
    name: Optional[str] = None


@dataclass(frozen=True)
class Columns:
    """The names of the columns with the sound or its path, and with the text.

    And those with the language and with the speaker, where there is one.
    """

    audio: str
    text: str
    language: Optional[str] = None
    speaker: Optional[str] = None


class ColumnNames(NamedTuple):
    """The names that the columns with the sounds and with the texts may have, in order of preference."""

    audio: Sequence[str] = _AUDIO_COLUMNS
    text: Sequence[str] = _TEXT_COLUMNS


class MissingColumnError(TrainerError):
    """DatasetInvalid, because a list has no column for the sounds or for the texts."""

    def __init__(self, message: str, columns: Tuple[str, ...]) -> None:
        """`columns` are those that the list has."""
        super().__init__("DatasetInvalid", message)
        self.columns = columns


def names_to_look_for(
    audio_column: Optional[str], text_column: Optional[str], known: Optional[ColumnNames]
) -> ColumnNames:
    """Return the spec's names only, if it gives them, else those of a known data set and then the usual ones."""
    audio, text = (known.audio, known.text) if known else ((), ())
    return ColumnNames(
        (audio_column,) if audio_column else tuple(dict.fromkeys([*audio, *_AUDIO_COLUMNS])),
        (text_column,) if text_column else tuple(dict.fromkeys([*text, *_TEXT_COLUMNS])),
    )


def path_of(value: Any) -> Optional[str]:
    """Return the path in a cell, which may be an object with a `path`. Return None where there is no path."""
    path = value.get("path") if isinstance(value, Mapping) else value
    return path.strip() or None if isinstance(path, str) else None


def find_columns(rows: Sequence[Row], names: ColumnNames, list_name: str) -> Columns:
    """Return the columns of the rows: for each the first of its names that the rows have.

    If they have none of the names exactly, case and surrounding blanks do not matter. Raises MissingColumnError, which
    says which columns there are.
    """
    present: Dict[str, None] = {}
    for row in rows:
        present.update(dict.fromkeys(row.values))
    return Columns(
        _column(present, names.audio, "dataset.audioColumn", list_name),
        _column(present, names.text, "dataset.textColumn", list_name),
        find_language_column(present),
        _first_usual(present, _SPEAKER_COLUMNS),
    )


def find_language_column(names: Iterable[str]) -> Optional[str]:
    """Return the first of these names that is a usual name of a language column, in any case, or None."""
    return _first_usual(names, _LANGUAGE_COLUMNS)


def speaker_named_by(value: object) -> str:
    """Return the speaker in a cell, of which many rows share one text. It may be empty."""
    return "" if value is None else sys.intern(str(value).strip())


def _first_usual(names: Iterable[str], usual: Sequence[str]) -> Optional[str]:
    found = {name.strip().casefold(): name for name in names}
    return next((found[column] for column in usual if column in found), None)


def language_named_by(value: object) -> str:
    """Return the language in a cell: Whisper's code if Whisper knows it, else the text. It may be empty."""
    text = "" if value is None else str(value).strip()[:_LONGEST_LANGUAGE]
    language = _COUNTRY.split(text.lower(), maxsplit=1)[0]
    return language_code(language) if language in LANGUAGE_NAMES else text


def find_segment(values: Mapping[str, Any]) -> Optional[Segment]:
    """Return the segment of a row with `offset` and `duration` in seconds, or None if it has no offset.

    Without a duration the segment goes to the recording's end. Raises MalformedSegmentError.
    """
    offset, duration = (values.get(column) for column in SEGMENT_COLUMNS)
    if offset in _NONE:
        return None
    start = audio_sources.seconds_of(offset)
    return audio_sources.make_segment(start, None if duration in _NONE else start + audio_sources.seconds_of(duration))


def _column(present: Mapping[str, None], wanted: Sequence[str], field: str, list_name: str) -> str:
    alike = {_folded(column): column for column in reversed(list(present))}
    for column in wanted:
        if column in present:
            return column
    for column in wanted:
        if _folded(column) in alike:
            return alike[_folded(column)]
    raise MissingColumnError(
        f"{field}: no column {escaped(' or '.join(wanted))} in {quoted(list_name)}; its columns are {listed(present)}",
        tuple(present),
    )


def _folded(column: str) -> str:
    return column.strip().casefold()
