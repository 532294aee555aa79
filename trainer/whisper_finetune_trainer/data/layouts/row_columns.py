"""The rows of a data set in any layout, and what their columns say: sound, text, language and segment. Pure."""

import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_api.languages import LANGUAGE_NAMES, language_code
from whisper_finetune_trainer.data.audio import audio_sources
from whisper_finetune_trainer.data.audio.audio_sources import Segment
from whisper_finetune_trainer.messages.errors import TrainerError, escaped, listed, quoted

_LANGUAGE_COLUMNS = ("language", "lang", "locale", "language_id", "lang_id", "language_code", "lang_code")
#: What parts a language from a country: it-IT, pt_BR, cmn_hans_cn.
_COUNTRY = re.compile(r"[-_]")
_LONGEST_LANGUAGE = 40
_AUDIO_COLUMNS = ("audio", "audio_filepath", "file_name", "path")
_TEXT_COLUMNS = ("text", "sentence", "transcription", "normalized_text", "transcript")
#: What a manifest calls a segment's start and length, in seconds.
SEGMENT_COLUMNS = ("offset", "duration")
#: What a row says that names no segment.
_NONE = (None, "")


@dataclass(frozen=True)
class Row:
    """One clip as a data set has it: its number there, and its values or what is wrong with it."""

    number: int
    values: Mapping[str, Any]
    broken: Optional[str] = None
    #: The segment of the recording that it is, where its layout says so beside the values.
    segment: Optional[Segment] = None
    #: What the clip goes by, where that is not the name of its file.
    name: Optional[str] = None


@dataclass(frozen=True)
class Columns:
    """Names of the columns that hold the sound, or its path, the text, and the language where one says it."""

    audio: str
    text: str
    language: Optional[str] = None


class ColumnNames(NamedTuple):
    """Names to look for, best first, of the column with the sounds and of the one with the texts."""

    audio: Sequence[str] = _AUDIO_COLUMNS
    text: Sequence[str] = _TEXT_COLUMNS


class MissingColumnError(TrainerError):
    """DatasetInvalid of a list without a column for the sounds, or for the texts."""

    def __init__(self, message: str, columns: Tuple[str, ...]) -> None:
        """`columns` are those that there are."""
        super().__init__("DatasetInvalid", message)
        self.columns = columns


def names_to_look_for(
    audio_column: Optional[str], text_column: Optional[str], known: Optional[ColumnNames]
) -> ColumnNames:
    """Return the spec's names alone where it gives them, else those of a known data set and then the usual ones."""
    audio, text = (known.audio, known.text) if known else ((), ())
    return ColumnNames(
        (audio_column,) if audio_column else tuple(dict.fromkeys([*audio, *_AUDIO_COLUMNS])),
        (text_column,) if text_column else tuple(dict.fromkeys([*text, *_TEXT_COLUMNS])),
    )


def path_of(value: Any) -> Optional[str]:
    """Return the path in a cell, which some write as an object that holds it. None where there is no path."""
    path = value.get("path") if isinstance(value, Mapping) else value
    return path.strip() or None if isinstance(path, str) else None


def find_columns(rows: Sequence[Row], names: ColumnNames, list_name: str) -> Columns:
    """Return the first names of each list that the rows have. MissingColumnError says which columns there are.

    Where none is there as it is, one that differs in case or in blanks around it is taken.
    """
    present: Dict[str, None] = {}
    for row in rows:
        present.update(dict.fromkeys(row.values))
    return Columns(
        _column(present, names.audio, "dataset.audioColumn", list_name),
        _column(present, names.text, "dataset.textColumn", list_name),
        find_language_column(present),
    )


def find_language_column(names: Iterable[str]) -> Optional[str]:
    """Return the first column of these names that says a language, in any case."""
    found = {name.strip().casefold(): name for name in names}
    return next((found[column] for column in _LANGUAGE_COLUMNS if column in found), None)


def language_named_by(value: object) -> str:
    """Return what a cell names, Whisper's code where it is a language of its table. Empty where it names none."""
    text = "" if value is None else str(value).strip()[:_LONGEST_LANGUAGE]
    language = _COUNTRY.split(text.lower(), maxsplit=1)[0]
    return language_code(language) if language in LANGUAGE_NAMES else text


def find_segment(values: Mapping[str, Any]) -> Optional[Segment]:
    """Return the segment of a row with `offset` and `duration` (seconds), None where it has no offset.

    An offset alone goes to the recording's end. MalformedSegmentError.
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
