"""How splits are called, and the shards that are called after them. Pure, but for the listings of folders."""

import posixpath
import re
from typing import Optional, Sequence, Tuple

from whisper_finetune_trainer.data.files.data_folder import DataFolder

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


def split_named_by(name: str) -> str:
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
