"""Tables of text, one clip a line: CSV and TSV as programs and people write them. Pure.

A line is a row, whatever its quotation marks say: one that is never closed would make a cell of all that follows.
"""

import csv
from collections import Counter
from typing import Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from typing_extensions import Literal

_TAB = "\t"
#: Best first, where a header has as many cells by one as by another.
_DELIMITERS = (",", ";", _TAB, "|")
_QUOTE = '"'
#: What Excel writes before the header.
_SEPARATOR = "sep="
_OPEN = "opens a quotation mark and does not close it: a cell is in one line, and a mark inside of it is written twice"
SUFFIXES = (".csv", ".tsv")


class NoTableError(ValueError):
    """A file that is not a table, in words."""


class TableRow(NamedTuple):
    """The number of a line, and its cells by the columns of the header. None where something is wrong."""

    number: int
    values: Mapping[str, Optional[str]]
    broken: Optional[str] = None


class _Format(NamedTuple):
    """How the cells of a line are told apart. Common Voice's tables hold bare quotation marks in their texts."""

    delimiter: str
    has_quotes: bool

    def cells(self, line: str) -> List[str]:
        """Return the cells of a line. csv.Error where its quotation marks are not in pairs, or it holds a NUL."""
        if "\0" in line:
            # Only older versions of Python say so.
            raise csv.Error("line contains NUL")
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self.has_quotes else csv.QUOTE_NONE
        text = line.rstrip(" \r\n")
        # Strict: without it, a mark that is never closed, and letters behind one that is, are passed over.
        reader = csv.reader([text], delimiter=self.delimiter, quoting=quoting, strict=True, skipinitialspace=True)
        return next(reader, [])


class _OpenCell:
    """The line that opened a quotation mark and did not close it, until a line that may close it."""

    def __init__(self) -> None:
        self._number: Optional[int] = None

    def opened_at(self, number: int) -> None:
        """Note a line that opens a mark."""
        self._number = number

    def closed_by(self, line: str) -> Optional[int]:
        """Return the number of the line whose cell a line may close."""
        if self._number is None or line.count(_QUOTE) % 2 == 0:
            return None
        number, self._number = self._number, None
        return number


def read_table(lines: Iterable[str], suffix: str) -> Iterator[TableRow]:
    """Yield the rows of a table, broken ones too, but no line without content. NoTableError."""
    numbered = enumerate(lines, start=1)
    table_format, columns = _header(numbered, suffix)
    open_cell = _OpenCell()
    for number, line in numbered:
        row = _row(number, line, table_format, columns, open_cell)
        if row is not None:
            yield row


def _header(numbered: Iterator[Tuple[int, str]], suffix: str) -> Tuple[_Format, Sequence[str]]:
    """Return the format, and the names in the first line that has any."""
    for _, line in numbered:
        text = line.rstrip("\r\n")
        if text[:-1].lower() == _SEPARATOR or not text.strip():
            # The header itself tells the delimiter.
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
    """Return how a header is written: a column of the names is nobody's, so the delimiter that parts most of it."""
    counts = {delimiter: header.count(delimiter) for delimiter in _DELIMITERS}
    if suffix == ".tsv" and counts[_TAB]:
        return _Format(_TAB, has_quotes=False)
    return _Format(max(_DELIMITERS, key=lambda delimiter: counts[delimiter]), has_quotes=True)


def _names(cells: Sequence[str]) -> Sequence[str]:
    """Return the names of the columns. One that is there twice, or empty, says which cell it is."""
    names = [cell.strip() for cell in cells]
    counts = Counter(names)
    return [
        name if name and counts[name] == 1 else f"{name} (cell {index})".strip()
        for index, name in enumerate(names, start=1)
    ]


def _row(
    number: int, line: str, table_format: _Format, columns: Sequence[str], open_cell: _OpenCell
) -> Optional[TableRow]:
    """Return the row of a line, None where all its cells are empty."""
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
