"""Manifests: JSON lines, a JSON array, or a table, with one clip per row. Lines and tables are read row by row.

Manifests of Common Voice, audiofolder and NeMo are recognized by the names of their files and columns. Tables are CSV
and TSV as programs and people write them. Each of their lines is a row, whatever its quotation marks say. Otherwise a
mark that is never closed would turn all following lines into one cell.
"""

import csv
import json
import posixpath
from collections import Counter
from itertools import chain, islice
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, TextIO, Tuple

from typing_extensions import Literal

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.layouts import layout, tar_shards
from whisper_finetune_trainer.data.layouts.layout import Layout, OpenedRows, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Row
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.messages.errors import TrainerError, quoted, words_of

_TAB = "\t"
#: In order of preference, if two delimiters divide the header into the same number of cells.
_DELIMITERS = (",", ";", _TAB, "|")
_QUOTE = '"'
#: Excel writes this before the header.
_SEPARATOR = "sep="
_OPEN = "opens a quotation mark and does not close it: a cell is in one line, and a mark inside of it is written twice"
SUFFIXES = (".csv", ".tsv")


class NoTableError(ValueError):
    """A file that is not a table. Its text says why."""


class TableRow(NamedTuple):
    """The number of a line, and its cells by column. If `broken` says what is wrong with it, the cells are None."""

    number: int
    values: Mapping[str, Optional[str]]
    broken: Optional[str] = None


class _Format(NamedTuple):
    """How the cells of a line are divided. Without `has_quotes`, as in Common Voice's tables, `"` is a plain letter."""

    delimiter: str
    has_quotes: bool

    def cells(self, line: str) -> List[str]:
        """Return the cells of a line. Raises csv.Error if a quotation mark is not closed, or if the line has a NUL."""
        if "\0" in line:
            # Newer versions of Python do not raise for it.
            raise csv.Error("line contains NUL")
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self.has_quotes else csv.QUOTE_NONE
        text = line.rstrip(" \r\n")
        # Without `strict`, a mark that is not closed would be ignored, and so would letters after a closing mark.
        reader = csv.reader([text], delimiter=self.delimiter, quoting=quoting, strict=True, skipinitialspace=True)
        return next(reader, [])


class _OpenCell:
    """Remembers the line that opened a quotation mark without closing it, until a line that may close it."""

    def __init__(self) -> None:
        self._number: Optional[int] = None

    def opened_at(self, number: int) -> None:
        """Note the line that opens a mark."""
        self._number = number

    def closed_by(self, line: str) -> Optional[int]:
        """Return the number of the line whose open cell this line may close, or None."""
        if self._number is None or line.count(_QUOTE) % 2 == 0:
            return None
        number, self._number = self._number, None
        return number


def read_table(lines: Iterable[str], suffix: str) -> Iterator[TableRow]:
    """Yield the rows of a table, also broken ones. Empty lines are left out. Raises NoTableError."""
    numbered = enumerate(lines, start=1)
    table_format, columns = _header(numbered, suffix)
    open_cell = _OpenCell()
    for number, line in numbered:
        row = _row(number, line, table_format, columns, open_cell)
        if row is not None:
            yield row


def _header(numbered: Iterator[Tuple[int, str]], suffix: str) -> Tuple[_Format, Sequence[str]]:
    """Return the format, and the column names from the first line that has any."""
    for _, line in numbered:
        text = line.rstrip("\r\n")
        if text[:-1].lower() == _SEPARATOR or not text.strip():
            # The delimiter is found by the header itself.
            continue
        table_format = _format_of(text, suffix)
        return table_format, _names(_header_cells(text, table_format))
    return _Format(",", has_quotes=True), ()


def _header_cells(text: str, table_format: _Format) -> List[str]:
    try:
        return table_format.cells(text)
    except csv.Error as error:
        what = "its lines end with carriage returns alone; save it with line feeds" if "\r" in text else str(error)
        raise NoTableError(f"the first line names no columns: {what}") from error


def _format_of(header: str, suffix: str) -> _Format:
    """Return the format of a header: by the delimiter that occurs most often, because names of columns have none."""
    counts = {delimiter: header.count(delimiter) for delimiter in _DELIMITERS}
    if suffix == ".tsv" and counts[_TAB]:
        return _Format(_TAB, has_quotes=False)
    return _Format(max(_DELIMITERS, key=lambda delimiter: counts[delimiter]), has_quotes=True)


def _names(cells: Sequence[str]) -> Sequence[str]:
    """Return the names of the columns. An empty name, or one that occurs twice, gets the number of its cell."""
    names = [cell.strip() for cell in cells]
    counts = Counter(names)
    return [
        name if name and counts[name] == 1 else f"{name} (cell {index})".strip()
        for index, name in enumerate(names, start=1)
    ]


def _row(
    number: int, line: str, table_format: _Format, columns: Sequence[str], open_cell: _OpenCell
) -> Optional[TableRow]:
    """Return the row of a line, or None if all its cells are empty."""
    opened_in = open_cell.closed_by(line) if table_format.has_quotes else None
    try:
        cells = table_format.cells(line)
    except csv.Error as error:
        if not table_format.has_quotes or line.count(_QUOTE) % 2 == 0:
            return TableRow(number, dict.fromkeys(columns), f"is not a line of a table ({error})")
        open_cell.opened_at(number)
        return TableRow(number, dict.fromkeys(columns), _OPEN)
    if opened_in is not None:
        return TableRow(
            number,
            dict.fromkeys(columns),
            f"may be the end of the cell that line {opened_in} opens with a quotation mark",
        )
    if not any(map(str.strip, cells)):
        return None
    # Some programs end each line with a delimiter.
    if any(map(str.strip, cells[len(columns) :])):
        return TableRow(number, dict.fromkeys(columns), f"has {len(cells)} cells, and the header {len(columns)}")
    # Programs leave out empty cells at a line's end.
    return TableRow(number, dict(zip(columns, cells)))


_ENDINGS = (".jsonl", ".json", *SUFFIXES)
#: The names of lists of all clips, whatever splits there are.
_LISTS_OF_ALL = ("manifest.jsonl", "manifest.json", "metadata.jsonl", "metadata.csv")
#: NeMo's list of sounds in tar files.
_TARRED = "tarred_audio_manifest.json"
_NEMO = "_manifest.json"
#: Common Voice's folder of sound files, and a column that its tables have and few others have.
_COMMON_VOICE_FOLDER = "clips"
_COMMON_VOICE_COLUMN = "client_id"


def _is_file(name: str) -> bool:
    return name.endswith(_ENDINGS)


def _find_named(folder: DataFolder, split: str) -> Tuple[str, ...]:
    names = [f"{split}.{ending}" for ending in ("jsonl", "csv", "tsv", "json")]
    names += [f"{split}{_NEMO}", f"{split}/{_TARRED}", f"{split}/metadata.jsonl", f"{split}/metadata.csv"]
    return _first_file(folder, [*names, f"{split}/manifest.jsonl", f"{split}/manifest.json"])


def _find_list_of_all(folder: DataFolder) -> Tuple[str, ...]:
    return _first_file(folder, _LISTS_OF_ALL)


def _find_unnamed(folder: DataFolder, _splits: Sequence[str]) -> Tuple[str, ...]:
    return _first_file(folder, [_TARRED])


def _first_file(folder: DataFolder, names: Sequence[str]) -> Tuple[str, ...]:
    found = next(filter(folder.is_file, names), None)
    return () if found is None else (found,)


def _split_named_by(name: str) -> Optional[str]:
    """Return the split whose list a file may be, by its name. Tables and JSON with unusual names may be anything."""
    if name in {*_LISTS_OF_ALL, _TARRED}:
        return None
    if name.endswith(_NEMO):
        return layout.split_of_name(name[: -len(_NEMO)] + ".json")
    is_one = not _is_file(name) or name.endswith(".jsonl") or layout.begins_with_usual_name(name)
    return layout.split_of_name(name) if is_one else None


def _base_folder(files: SplitFiles, first: Row) -> str:
    beside = posixpath.dirname(files.paths[0])
    sounds = posixpath.join(beside, _COMMON_VOICE_FOLDER)
    return sounds if _COMMON_VOICE_COLUMN in first.values and files.folder.is_folder(sounds) else beside


def _open_rows(files: SplitFiles, names: ColumnNames) -> OpenedRows:
    columns, rows = layout.with_columns(files, read_manifest(files.folder.file(files.paths[0]), files.name), names)
    head = list(islice(rows, 1))
    rows, beside = chain(head, rows), posixpath.dirname(files.paths[0])
    # A manifest of NeMo for tar files names one in each row.
    if head and tar_shards.SHARD_ID in head[0].values and tar_shards.is_named_by(head[0], files.folder, beside):
        rows = tar_shards.with_sounds(rows, files.folder, beside, columns.audio)
    return OpenedRows(columns, rows)


def read_manifest(file: str, name: str) -> Iterator[Row]:
    """Yield the rows of a manifest, also broken ones. Raises DatasetInvalid for a file that is no manifest."""
    suffix = "." + name.rsplit(".", 1)[-1]
    with source_files.open_text(file) as text, source_files.in_utf8(name):
        yield from _table_rows(text, suffix, name) if suffix in SUFFIXES else _json_rows(text, name)


def _table_rows(text: TextIO, suffix: str, name: str) -> Iterator[Row]:
    try:
        yield from (Row(*row) for row in read_table(text, suffix))
    except NoTableError as error:
        raise TrainerError("DatasetInvalid", f"{quoted(name)} is not a table: {words_of(error)}") from error


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
    """Return a JSON object. Raises ValueError if two values have the same name, because the first would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{name!r:.42} occurs twice")
    return values


MANIFEST = Layout(
    endings=_ENDINGS,
    is_file=_is_file,
    open_rows=_open_rows,
    examples=("{split}.jsonl", "{split}.csv", "{split}/metadata.csv"),
    find_named=_find_named,
    find_list_of_all=_find_list_of_all,
    find_unnamed=_find_unnamed,
    split_named_by=_split_named_by,
    base_folder=_base_folder,
)
