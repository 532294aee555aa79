"""Find and read the manifest of a split: JSON lines or a table, one clip a row."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple, Type

from whisper_finetune_trainer.errors import TrainerError

AUDIO_COLUMNS = ("audio", "audio_filepath", "file_name", "path")
TEXT_COLUMNS = ("text", "sentence", "transcription", "normalized_text", "transcript")
_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
#: Key of the cells beyond the header; no column of a text file has this name.
_SURPLUS = "\0"


class _Tabs(csv.excel_tab):
    """Common Voice's tables hold bare quotation marks in their texts."""

    quoting = csv.QUOTE_NONE


_TABLES: Mapping[str, Type[csv.Dialect]] = {".csv": csv.excel, ".tsv": _Tabs}


@dataclass(frozen=True)
class Row:
    """One line of a manifest: its number, and its values or what is wrong with it."""

    line: int
    values: Mapping[str, Any]
    broken: Optional[str] = None


@dataclass(frozen=True)
class Columns:
    """Names of the columns that hold the audio's path and the text."""

    audio: str
    text: str


def find(source: Path, address: str, split: str, *, is_train: bool) -> Path:
    """Return the manifest of a split of a folder, or the source itself where it is a file; DatasetNotFound.

    `address` is what the spec calls the source.
    """
    if source.is_file():
        if not is_train:
            raise TrainerError(
                "DatasetNotFound",
                f"dataset.evalSplit {split}: {address} is one manifest and all of it is the train split; "
                "let dataset.source name the folder that holds both splits",
            )
        return source
    if not source.is_dir():
        raise TrainerError("DatasetNotFound", f"dataset.source: there is nothing at {address}")
    for candidate in _candidates(split, is_train=is_train):
        if (source / candidate).is_file():
            return source / candidate
    found = ", ".join(sorted(entry.name for entry in source.iterdir())[:10]) or "nothing"
    wanted = ", ".join(_candidates(split, is_train=is_train))
    raise TrainerError("DatasetNotFound", f"split {split}: none of {wanted} is in {address}, which holds {found}")


def _candidates(split: str, *, is_train: bool) -> List[str]:
    names = [f"{split}.{suffix}" for suffix in ("jsonl", "csv", "tsv")]
    names += [f"{split}/{name}" for name in ("metadata.jsonl", "metadata.csv", "manifest.jsonl")]
    return names + (["manifest.jsonl", "metadata.jsonl", "metadata.csv"] if is_train else [])


def read(path: Path) -> List[Row]:
    """Return the rows of a manifest, broken ones too; DatasetInvalid for a file that is none."""
    if path.suffix not in _SUFFIXES:
        raise TrainerError("DatasetInvalid", f"{path.name} is no manifest; one of {', '.join(_SUFFIXES)} is expected")
    try:
        # utf-8-sig: files written on Windows begin with a byte-order mark, which would be part of the first key.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainerError("DatasetInvalid", f"{path.name} is not UTF-8: {error}; convert it to UTF-8") from error
    if path.suffix in _TABLES:
        return list(_table_rows(text, _TABLES[path.suffix]))
    return list(_array_rows(text) if text.lstrip().startswith("[") else _json_rows(text))


def _json_rows(text: str) -> Iterator[Row]:
    # Not splitlines(): it also splits at separators that JSON allows inside of a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    try:
        values = json.loads(line)
    except ValueError as error:
        return Row(number, {}, f"is not JSON ({error})")
    return Row(number, values) if isinstance(values, dict) else Row(number, {}, "is not a JSON object")


def _array_rows(text: str) -> Iterator[Row]:
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise TrainerError("DatasetInvalid", f"the manifest is a JSON array that cannot be read: {error}") from error
    for number, values in enumerate(entries, start=1):
        yield Row(number, values) if isinstance(values, dict) else Row(number, {}, "is not a JSON object")


def _table_rows(text: str, dialect: Type[csv.Dialect]) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey=_SURPLUS, dialect=dialect)
    for values in reader:
        broken = "has more cells than the header" if values.pop(_SURPLUS, None) else None
        yield Row(reader.line_num, values, broken)


def find_columns(rows: List[Row], audio: Optional[str], text: Optional[str]) -> Columns:
    """Return the columns to use, by name or by the known data sets' names; DatasetInvalid names those that exist."""
    present: Dict[str, None] = {}
    for row in rows[:100]:
        present.update(dict.fromkeys(row.values))
    return Columns(
        _column(present, audio, AUDIO_COLUMNS, "dataset.audioColumn"),
        _column(present, text, TEXT_COLUMNS, "dataset.textColumn"),
    )


def _column(present: Mapping[str, None], wanted: Optional[str], known: Tuple[str, ...], field: str) -> str:
    for name in (wanted,) if wanted else known:
        if name in present:
            return name
    looked_for = wanted or " or ".join(known)
    found = ", ".join(present) or "none"
    raise TrainerError("DatasetInvalid", f"{field}: no column {looked_for} in the manifest; its columns are {found}")
