"""What a layout of data sets is: how the files of a split are found in a folder, and how their rows are read.

Everything that differs between layouts is in their objects. `split_files.LAYOUTS` has them in order of precedence. Most
layouts find the files of a split by its name, in the ways in which people name splits and shards.
"""

import posixpath
import re
from dataclasses import dataclass
from itertools import chain, islice
from typing import Callable, FrozenSet, Iterator, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_trainer.data.layouts import folder_shapes, row_columns
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Columns, MissingColumnError, Row
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.messages.errors import TrainerError, quoted

#: The usual names of splits that nobody trains on. `_USUAL_NAMES` has those of other splits too.
HELD_OUT_NAMES = frozenset(("test", "dev", "val", "valid", "validation", "eval", "evaluation"))
_USUAL_NAMES = HELD_OUT_NAMES | {"train", "training", "validated", "invalidated", "other"}
#: What follows the split's name in the name of a file, such as train-00000-of-00002.
_NUMBERED = r"([-_.]?[0-9][0-9A-Za-z_-]*)?"
#: Folders that may have shards, besides those that are named after a split.
_SHARD_FOLDERS = ("", "data", "audio")


def begins_with_usual_name(name: str) -> bool:
    """Return whether a name begins with a usual name of a split, as dev-clean.tsv does."""
    return re.split("[-_.]", name, maxsplit=1)[0] in _USUAL_NAMES


def split_of_name(name: str) -> str:
    """Return the split that a file or a folder may be named after: the name without its ending and number."""
    return re.sub(f"{_NUMBERED}$", "", name.rsplit(".", 1)[0])


def find_named_shards(folder: DataFolder, split: str, ending: str) -> Tuple[str, ...]:
    """Return the shards SPLIT-* in the folder or in its folders for shards, else the shards in a folder SPLIT."""
    named = re.compile(f"^{re.escape(split)}{_NUMBERED}$")
    found = (_shards(folder, beside, ending, named) for beside in _SHARD_FOLDERS)
    return next(filter(None, found), ()) or _shards(folder, split, ending) or _shards(folder, f"data/{split}", ending)


def find_numbered_shards(folder: DataFolder, splits: Sequence[str], ending: str) -> Tuple[str, ...]:
    """Return the shards at the top whose names are numbers, for the train split.

    Return none if there are files that are named after splits: then others are not the train split.
    """
    return () if splits else _shards(folder, "", ending, re.compile("^[0-9]"))


def _shards(folder: DataFolder, beside: str, ending: str, named: Optional["re.Pattern[str]"] = None) -> Tuple[str, ...]:
    """Return the shards in the folder `beside`. Their names without the ending match `named`."""
    stems = (name[: -len(ending)] for name in folder.names(beside) if name.endswith(ending))
    return tuple(posixpath.join(beside, stem + ending) for stem in stems if named is None or named.match(stem))


#: The columns are found in so many rows, because not every row of JSON lines has every key.
_SAMPLED_ROWS = 100
_GIB = 1024**3
_MIB = 1024**2
_OF_JSON = "; each line must be an object, or the file one array of objects"


@dataclass(frozen=True)
class SplitFolders:
    """Which rows of a list belong to a split, by the folders of their sounds."""

    #: The split's folder. If it is None, the split has all rows whose sounds are in none of the `others`.
    only: Optional[str]
    others: FrozenSet[str] = frozenset()

    def hold(self, path: str) -> bool:
        """Return whether the sound at a path belongs to the split."""
        found = path.replace("\\", "/").split("/")[:-1]
        return self.only in found if self.only is not None else self.others.isdisjoint(found)


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split, with their paths relative to the folder, and their layout."""

    folder: DataFolder
    layout: "Layout"
    paths: Tuple[str, ...]
    #: If the file is a list of all clips: which of its rows belong to the split.
    folders: Optional[SplitFolders] = None

    @property
    def name(self) -> str:
        """The name of the split's files in messages."""
        first = posixpath.basename(self.paths[0])
        return first if len(self.paths) == 1 else f"{first} and {len(self.paths) - 1} more"

    @property
    def size_bytes(self) -> int:
        """The size of all files together, in bytes."""
        return sum(self.folder.size_bytes(path) for path in self.paths)


class OpenedRows(NamedTuple):
    """The rows of a split, also broken ones, and the columns of their sounds and texts."""

    columns: Columns
    rows: Iterator[Row]


@dataclass(frozen=True)
class ShardReader:
    """Reads one shard from its start to its end. A layout needs it so that its data sets can be a stream."""

    #: What a position in a shard counts: `byte` or `row`.
    position_unit: str
    #: Takes folder, path, columns and a position. Yields the rows from there on with their sounds in memory, each with
    #: the position after it. Raises DatasetInvalid for a shard that is cut or broken.
    rows_with_sound: Callable[[DataFolder, str, Columns, int], Iterator[Tuple[Row, int]]]
    #: Returns whether the shards have the sounds themselves, and not only their paths.
    holds_sounds: Callable[[SplitFiles, Columns], bool]


@dataclass(frozen=True)
class StreamLimits:
    """The bounds of streams. Every run has the defaults. Tests have smaller ones."""

    #: Shards that are together at most so large are listed clip by clip. Larger ones are a stream.
    listed_bytes: int = 64 * _GIB
    #: How many bytes of sound files are shuffled together in memory. There are two such blocks: one is read while the
    #: other is used.
    block_bytes: int = 256 * _MIB
    #: How many shards are read in turns, so that neighbours in a shard are not neighbours in the order.
    lanes: int = 4
    #: How many clips are sampled before training, at least and at most.
    least_sampled: int = 2_000
    most_sampled: int = 20_000
    #: How many clips are held out where maxEvalClips is not given.
    held_out_clips: int = 1_000


LIMITS = StreamLimits()


def _no_paths(*_given: object) -> Tuple[str, ...]:
    return ()


def _folder_of_the_list(files: SplitFiles, _first: Row) -> str:
    return posixpath.dirname(files.paths[0])


@dataclass(frozen=True)
class Layout:
    """One layout of data sets, as functions of the names in a folder."""

    #: The endings of files that can be a whole data set by themselves, for messages.
    endings: Tuple[str, ...]
    #: Returns whether a file is in this layout, by its name.
    is_file: Callable[[str], bool]
    #: Returns columns and rows. Raises DatasetInvalid if a column is missing, or if the files are not in this layout.
    open_rows: Callable[[SplitFiles, ColumnNames], OpenedRows]
    #: Examples of a split's files for messages, with {split} in place of its name.
    examples: Tuple[str, ...] = ()
    #: Returns the paths of the files that are named after a split.
    find_named: Callable[[DataFolder, str], Tuple[str, ...]] = _no_paths
    #: Returns the path of a list with the clips of all splits, whose sounds are in a folder per split.
    find_list_of_all: Callable[[DataFolder], Tuple[str, ...]] = _no_paths
    #: Returns the files that are the train split although their names do not say so. It is given the splits that are
    #: known by name.
    find_unnamed: Callable[[DataFolder, Sequence[str]], Tuple[str, ...]] = _no_paths
    #: Returns the split that a name in a folder may stand for, and an empty text or None if it stands for none.
    split_named_by: Callable[[str], Optional[str]] = split_of_name
    #: Returns the folder that the rows' paths are relative to, given the first row.
    base_folder: Callable[[SplitFiles, Row], str] = _folder_of_the_list
    #: Returns the name, for messages, of the file whose lines they count.
    list_name: Callable[[SplitFiles], str] = lambda files: files.name
    #: How its files are read as a stream. It is None for a layout that is always listed.
    shards: Optional[ShardReader] = None


def with_columns(
    files: SplitFiles, rows: Iterator[Row], names: ColumnNames, known_columns: Sequence[str] = ()
) -> OpenedRows:
    """Find the columns in the first rows, and return them with all rows. Raises DatasetInvalid if one is missing.

    `known_columns` are those that all rows of a layout have.
    """
    first = list(islice(rows, _SAMPLED_ROWS))
    if not first:
        return OpenedRows(Columns("", ""), iter(()))
    known = [Row(0, dict.fromkeys(known_columns))] if known_columns else []
    return OpenedRows(require_columns(files, [*known, *first], names), chain(first, rows))


def require_columns(files: SplitFiles, rows: Sequence[Row], names: ColumnNames) -> Columns:
    """Return the columns of rows. Raises DatasetInvalid if one is missing, and says what the list looks like."""
    try:
        return row_columns.find_columns(rows, names, files.name)
    except MissingColumnError as error:
        if rows and all(row.broken for row in rows):
            advice = _OF_JSON if files.name.endswith((".json", ".jsonl")) else ""
            faults = f"line {rows[0].number} {rows[0].broken}{advice}"
            raise TrainerError(error.reason, f"{quoted(files.name)} has only broken lines, such as {faults}") from error
        shape = folder_shapes.shape_of_columns(error.columns, files.folder)
        raise TrainerError(error.reason, f"{error.message}{f'; {shape}' if shape else ''}") from error
