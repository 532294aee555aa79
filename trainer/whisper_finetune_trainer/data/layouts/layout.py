"""What a layout of data sets is: how the files of a split are found in a folder, and how their rows are read.

All that differs between layouts stands in their objects. `split_files.LAYOUTS` has them in order of precedence.
"""

import posixpath
from dataclasses import dataclass
from itertools import chain, islice
from typing import Callable, FrozenSet, Iterator, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_trainer.data.files.data_folder import DataFolder
from whisper_finetune_trainer.data.layouts import folder_shapes, row_columns, split_names
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Columns, MissingColumnError, Row
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted

#: Rows that are sampled for their columns: not every row of JSON lines has every key.
_SAMPLED_ROWS = 100
_OF_JSON = "; what is read is an object in each line, or one array of them"


@dataclass(frozen=True)
class SplitFolders:
    """Which rows of a list a split is, by the folders that their sounds lie in."""

    #: The only folder, None for all but the other ones.
    only: Optional[str]
    others: FrozenSet[str] = frozenset()

    def hold(self, path: str) -> bool:
        """Return whether a sound is of the split."""
        found = path.replace("\\", "/").split("/")[:-1]
        return self.only in found if self.only is not None else self.others.isdisjoint(found)


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split, by their paths in the folder, and the layout that they are in."""

    folder: DataFolder
    layout: "Layout"
    paths: Tuple[str, ...]
    #: Of a list of all clips, the folders that tell its splits apart.
    folders: Optional[SplitFolders] = None

    @property
    def name(self) -> str:
        """Return what messages call the split's files."""
        first = posixpath.basename(self.paths[0])
        return first if len(self.paths) == 1 else f"{first} and {len(self.paths) - 1} more"

    @property
    def size_bytes(self) -> int:
        """Return the size of all files together."""
        return sum(self.folder.size_bytes(path) for path in self.paths)


class OpenedRows(NamedTuple):
    """The rows of a split, broken ones too, and the columns that hold their sounds and texts."""

    columns: Columns
    rows: Iterator[Row]


@dataclass(frozen=True)
class ShardReader:
    """Reads one shard from its start to its end: what a layout needs so that its data sets can be a stream."""

    #: What a position in a shard counts.
    position_unit: str
    #: Takes folder, path, columns and a position. Yields the rows from there on, their sounds in memory, each with the
    #: position after it. DatasetInvalid for a shard that is cut or broken.
    rows_with_sound: Callable[[DataFolder, str, Columns, int], Iterator[Tuple[Row, int]]]
    #: Tells whether shards hold the sounds themselves, and not their paths.
    holds_sounds: Callable[[SplitFiles, Columns], bool]


def _no_paths(*_given: object) -> Tuple[str, ...]:
    return ()


def _folder_of_the_list(files: SplitFiles, _first: Row) -> str:
    return posixpath.dirname(files.paths[0])


@dataclass(frozen=True)
class Layout:
    """One layout of data sets, as functions of what a folder lists."""

    #: What messages call files that are a whole data set by themselves: the endings of their names.
    endings: Tuple[str, ...]
    #: Tells by its name whether a file is in this layout.
    is_file: Callable[[str], bool]
    #: Returns columns and rows. DatasetInvalid where a column is missing, or the files are not in this layout.
    open_rows: Callable[[SplitFiles, ColumnNames], OpenedRows]
    #: What messages call the files of a split, with {split} in place of its name.
    examples: Tuple[str, ...] = ()
    #: Returns the paths of the files that are named after a split, none where there are none.
    find_named: Callable[[DataFolder, str], Tuple[str, ...]] = _no_paths
    #: Returns the list of the clips of all splits, which folders tell apart.
    find_list_of_all: Callable[[DataFolder], Tuple[str, ...]] = _no_paths
    #: Returns the files that are the train split although no name says so, given the splits that names do tell.
    find_unnamed: Callable[[DataFolder, Sequence[str]], Tuple[str, ...]] = _no_paths
    #: Returns the split that a name in a folder may be that of, empty or None where it is surely none.
    split_named_by: Callable[[str], Optional[str]] = split_names.split_named_by
    #: Returns the folder that paths in the rows start from, given the first row.
    base_folder: Callable[[SplitFiles, Row], str] = _folder_of_the_list
    #: Returns what messages call the file whose lines they count.
    list_name: Callable[[SplitFiles], str] = lambda files: files.name
    #: How its files are read as a stream, None where they are always listed.
    shards: Optional[ShardReader] = None


def with_columns(
    files: SplitFiles, rows: Iterator[Row], names: ColumnNames, known_columns: Sequence[str] = ()
) -> OpenedRows:
    """Return rows with their columns, which are found in the first ones. DatasetInvalid where one is missing.

    `known_columns` are those that all rows of a layout have.
    """
    first = list(islice(rows, _SAMPLED_ROWS))
    if not first:
        return OpenedRows(Columns("", ""), iter(()))
    known = [Row(0, dict.fromkeys(known_columns))] if known_columns else []
    return OpenedRows(require_columns(files, [*known, *first], names), chain(first, rows))


def require_columns(files: SplitFiles, rows: Sequence[Row], names: ColumnNames) -> Columns:
    """Return the columns that rows have. Where one is missing, DatasetInvalid says what the list looks like."""
    try:
        return row_columns.find_columns(rows, names, files.name)
    except MissingColumnError as error:
        if rows and all(row.broken for row in rows):
            advice = _OF_JSON if files.name.endswith((".json", ".jsonl")) else ""
            faults = f"line {rows[0].number} {rows[0].broken}{advice}"
            raise TrainerError(error.reason, f"{quoted(files.name)} has only broken lines, such as {faults}") from error
        shape = folder_shapes.shape_of_columns(error.columns, files.folder)
        raise TrainerError(error.reason, f"{error.message}{f'; {shape}' if shape else ''}") from error
