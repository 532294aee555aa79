"""Read manifests: JSON lines, a JSON array or a table, one clip a row, without holding them whole in memory."""

import csv
import json
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, TextIO, Tuple, Type

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.segments import Segment
from whisper_finetune_trainer.errors import TrainerError

AUDIO_COLUMNS = ("audio", "audio_filepath", "file_name", "path")
TEXT_COLUMNS = ("text", "sentence", "transcription", "normalized_text", "transcript")
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
#: Key of the cells beyond the header; no column of a text file has this name.
_SURPLUS = "\0"


class _Tabs(csv.excel_tab):
    """Common Voice's tables hold bare quotation marks in their texts."""

    quoting = csv.QUOTE_NONE


_TABLES: Mapping[str, Type[csv.Dialect]] = {".csv": csv.excel, ".tsv": _Tabs}


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
    """Names of the columns that hold the sound, or its path, and the text."""

    audio: str
    text: str


def is_manifest(name: str) -> bool:
    """Return whether a file is a manifest by its name."""
    return name.endswith(SUFFIXES)


def read(file: str, name: str) -> Iterator[Row]:
    """Yield the rows of a manifest, broken ones too; DatasetInvalid for a file that is none."""
    suffix = "." + name.rsplit(".", 1)[-1]
    with source_files.open_text(file) as text, source_files.in_utf8(name):
        try:
            yield from _table_rows(text, _TABLES[suffix]) if suffix in _TABLES else _json_rows(text)
        except csv.Error as error:
            raise TrainerError("DatasetInvalid", f"{name} is not a table: {error}") from error


def _json_rows(text: TextIO) -> Iterator[Row]:
    first = text.readline()
    while first and not first.strip():
        first = text.readline()
    if first.lstrip().startswith("["):
        yield from _array_rows(first + text.read())
        return
    text.seek(0)
    for number, line in enumerate(text, start=1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    try:
        values = json.loads(line.rstrip("\n"))
    except (ValueError, RecursionError) as error:
        return Row(number, {}, f"is not JSON ({error})")
    return Row(number, values) if isinstance(values, dict) else Row(number, {}, "is not a JSON object")


def _array_rows(text: str) -> Iterator[Row]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrainerError("DatasetInvalid", f"the manifest is a JSON array that cannot be read: {error}") from error
    for number, values in enumerate(entries, start=1):
        yield Row(number, values) if isinstance(values, dict) else Row(number, {}, "is not a JSON object")


def _table_rows(text: TextIO, dialect: Type[csv.Dialect]) -> Iterator[Row]:
    reader = csv.DictReader(text, restkey=_SURPLUS, dialect=dialect)
    for values in reader:
        broken = "has more cells than the header" if values.pop(_SURPLUS, None) else None
        yield Row(reader.line_num, values, broken)


def find_columns(rows: Sequence[Row], audio: Sequence[str], text: Sequence[str], name: str) -> Columns:
    """Return the first names of each list that the rows have; DatasetInvalid says which columns there are."""
    present: Dict[str, None] = {}
    for row in rows:
        present.update(dict.fromkeys(row.values))
    return Columns(
        _column(present, audio, "dataset.audioColumn", name), _column(present, text, "dataset.textColumn", name)
    )


def _column(present: Mapping[str, None], wanted: Sequence[str], field: str, name: str) -> str:
    for column in wanted:
        if column in present:
            return column
    found = ", ".join(present) or "none"
    raise TrainerError("DatasetInvalid", f"{field}: no column {' or '.join(wanted)} in {name}; its columns are {found}")


def names_of(wanted: Optional[str], known: Optional[str], usual: Tuple[str, ...]) -> Tuple[str, ...]:
    """Return the column names to look for: the spec's alone, else the known data set's and then the usual ones."""
    return (wanted,) if wanted else tuple(dict.fromkeys([known, *usual] if known else usual))
