"""Read manifests: JSON lines, a JSON array or a table, one clip a row, without holding them whole in memory."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, TextIO, Tuple

from whisper_finetune_trainer.data.audio.segments import Segment
from whisper_finetune_trainer.data.files import source_files
from whisper_finetune_trainer.data.layouts import tables
from whisper_finetune_trainer.data.text import row_languages
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import listed, printable, quoted, words_of

AUDIO_COLUMNS = ("audio", "audio_filepath", "file_name", "path")
TEXT_COLUMNS = ("text", "sentence", "transcription", "normalized_text", "transcript")
SUFFIXES = (".jsonl", ".json", *tables.SUFFIXES)


@dataclass(frozen=True)
class Row:
    """One clip as a data set has it: its number there, and its values or what is wrong with it."""

    number: int
    values: Mapping[str, Any]
    broken: Optional[str] = None
    #: The part of the recording that it is, where its layout says so beside the values.
    segment: Optional[Segment] = None
    #: What the clip goes by, where that is not the name of its file.
    name: Optional[str] = None


@dataclass(frozen=True)
class Columns:
    """Names of the columns that hold the sound, or its path, the text, and the language where one says it."""

    audio: str
    text: str
    language: Optional[str] = None


class MissingColumnError(TrainerError):
    """DatasetInvalid of a list without a column for the sounds, or for the texts."""

    def __init__(self, message: str, columns: Tuple[str, ...]) -> None:
        """`columns` are those that there are."""
        super().__init__("DatasetInvalid", message)
        self.columns = columns


def is_manifest(name: str) -> bool:
    """Return whether a file is a manifest by its name."""
    return name.endswith(SUFFIXES)


def path_of(value: Any) -> Optional[str]:
    """Return the path in a cell, which some write as an object that holds it; None where there is none."""
    path = value.get("path") if isinstance(value, Mapping) else value
    return path.strip() or None if isinstance(path, str) else None


def read(file: str, name: str) -> Iterator[Row]:
    """Yield the rows of a manifest, broken ones too; DatasetInvalid for a file that is none."""
    suffix = "." + name.rsplit(".", 1)[-1]
    with source_files.open_text(file) as text, source_files.in_utf8(name):
        yield from _table_rows(text, suffix, name) if suffix in tables.SUFFIXES else _json_rows(text, name)


def _table_rows(text: TextIO, suffix: str, name: str) -> Iterator[Row]:
    try:
        yield from (Row(*row) for row in tables.rows(text, suffix))
    except tables.NoTableError as error:
        raise TrainerError("DatasetInvalid", f"{quoted(name)} is no table: {words_of(error)}") from error


def _json_rows(text: TextIO, name: str) -> Iterator[Row]:
    first = text.readline()
    while first and not first.strip():
        first = text.readline()
    if first.lstrip().startswith("["):
        yield from _array_rows(first + text.read(), name)
        return
    text.seek(0)
    for number, line in enumerate(text, start=1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    try:
        values = _parsed(line.rstrip("\n"))
    except (ValueError, RecursionError) as error:
        return Row(number, {}, f"is not JSON ({words_of(error)})")
    return Row(number, values) if isinstance(values, dict) else Row(number, {}, "is not a JSON object")


def _array_rows(text: str, name: str) -> Iterator[Row]:
    try:
        entries = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise TrainerError(
            "DatasetInvalid", f"{quoted(name)} is a JSON array that cannot be read: {words_of(error)}"
        ) from error
    for number, values in enumerate(entries, start=1):
        yield Row(number, values) if isinstance(values, dict) else Row(number, {}, "is not a JSON object")


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """Return an object; ValueError for one with two values of one name, of which the first would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{name!r:.42} is there twice")
    return values


def find_columns(rows: Sequence[Row], audio: Sequence[str], text: Sequence[str], name: str) -> Columns:
    """Return the first names of each list that the rows have; MissingColumnError says which columns there are.

    One that is there but for its case, or for blanks around it, is taken where none is there as it is.
    """
    present: Dict[str, None] = {}
    for row in rows:
        present.update(dict.fromkeys(row.values))
    return Columns(
        _column(present, audio, "dataset.audioColumn", name),
        _column(present, text, "dataset.textColumn", name),
        row_languages.column_of(present),
    )


def _column(present: Mapping[str, None], wanted: Sequence[str], field: str, name: str) -> str:
    alike = {_folded(column): column for column in reversed(list(present))}
    for column in wanted:
        if column in present:
            return column
    for column in wanted:
        if _folded(column) in alike:
            return alike[_folded(column)]
    raise MissingColumnError(
        f"{field}: no column {printable(' or '.join(wanted))} in {quoted(name)}; its columns are {listed(present)}",
        tuple(present),
    )


def _folded(column: str) -> str:
    return column.strip().casefold()


def names_of(wanted: Optional[str], known: Optional[str], usual: Tuple[str, ...]) -> Tuple[str, ...]:
    """Return the column names to look for: the spec's alone, else the known data set's and then the usual ones."""
    return (wanted,) if wanted else tuple(dict.fromkeys([known, *usual] if known else usual))
