"""The rows of a data set in any layout, and which of their columns hold sound, text and language. Pure."""

from dataclasses import dataclass
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_trainer.data.audio.segments import Segment
from whisper_finetune_trainer.data.text import row_languages
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import escaped, listed, quoted

_AUDIO_COLUMNS = ("audio", "audio_filepath", "file_name", "path")
_TEXT_COLUMNS = ("text", "sentence", "transcription", "normalized_text", "transcript")


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
        row_languages.find_language_column(present),
    )


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
