"""What a layout of data sets is: how the files of a split are found in a folder, and how their rows are read.

All that differs between layouts stands in their objects. `split_files.LAYOUTS` has them in order of precedence. Most
find the files of a split by its name, in the ways that people name splits and shards.
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

#: What splits are called that nobody trains on, and what others are.
HELD_OUT_NAMES = frozenset(("test", "dev", "val", "valid", "validation", "eval", "evaluation"))
_USUAL_NAMES = HELD_OUT_NAMES | {"train", "training", "validated", "invalidated", "other"}
#: What follows the name of a split in the name of a file, such as train-00000-of-00002.
_NUMBERED = r"([-_.]?[0-9][0-9A-Za-z_-]*)?"
#: Folders that shards are looked for in, besides those that are named after a split.
_SHARD_FOLDERS = ("", "data", "audio")


def begins_with_usual_name(name: str) -> bool:
    """Return whether a name begins with what splits are usually called, such as dev-clean.tsv."""
    return re.split("[-_.]", name, maxsplit=1)[0] in _USUAL_NAMES


def split_of_name(name: str) -> str:
    """Return the split that a file or a folder is named after, if it is: the name without its ending and number."""
    return re.sub(f"{_NUMBERED}$", "", name.rsplit(".", 1)[0])


def find_named_shards(folder: DataFolder, split: str, ending: str) -> Tuple[str, ...]:
    """Return the shards NAME-*, at the top or in the folders for shards, else those in a folder NAME."""
    named = re.compile(f"^{re.escape(split)}{_NUMBERED}$")
    found = (_shards(folder, beside, ending, named) for beside in _SHARD_FOLDERS)
    return next(filter(None, found), ()) or _shards(folder, split, ending) or _shards(folder, f"data/{split}", ending)


def find_numbered_shards(folder: DataFolder, splits: Sequence[str], ending: str) -> Tuple[str, ...]:
    """Return the shards at the top that have numbers for names.

    Beside files that are named after splits, others are not the train split.
    """
    return () if splits else _shards(folder, "", ending, re.compile("^[0-9]"))


def _shards(folder: DataFolder, beside: str, ending: str, named: Optional["re.Pattern[str]"] = None) -> Tuple[str, ...]:
    """Return the shards in a folder. `named` is what their names must match, without the ending."""
    stems = (name[: -len(ending)] for name in folder.names(beside) if name.endswith(ending))
    return tuple(posixpath.join(beside, stem + ending) for stem in stems if named is None or named.match(stem))


#: Rows that are sampled for their columns: not every row of JSON lines has every key.
_SAMPLED_ROWS = 100
_GIB = 1024**3
_MIB = 1024**2
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


@dataclass(frozen=True)
class StreamLimits:
    """Bounds of streams. Every run has these, and tests have smaller ones."""

    #: Shards of at most this size together are listed clip by clip; of more, they are a stream.
    listed_bytes: int = 64 * _GIB
    #: Sound files that are shuffled together in memory. There are two such blocks: one is read while one is used.
    block_bytes: int = 256 * _MIB
    #: Shards that are read by turns, so that neighbours in a shard are not neighbours in the order.
    lanes: int = 4
    #: Clips that are looked at before training, at least and at most.
    least_sampled: int = 2_000
    most_sampled: int = 20_000
    #: Held-out clips, where maxEvalClips does not say it.
    held_out_clips: int = 1_000


LIMITS = StreamLimits()


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
    split_named_by: Callable[[str], Optional[str]] = split_of_name
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
