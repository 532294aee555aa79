"""Which files a split of a folder is made of, by the layouts that speech data sets come in."""

import posixpath
import re
from dataclasses import dataclass
from typing import FrozenSet, Iterable, List, Optional, Tuple

from typing_extensions import Literal

from whisper_finetune_trainer.data.files.data_folder import DataFolder
from whisper_finetune_trainer.data.layouts import folder_shapes, line_index, manifest
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import listed, quoted

Format = Literal["manifest", "kaldi", "line index", "tar", "parquet"]
#: Kaldi's list of recordings; the texts lie beside it.
WAV_SCP = "wav.scp"
#: Lists of all clips, whatever splits there are.
_LISTS_OF_ALL = ("manifest.jsonl", "manifest.json", "metadata.jsonl", "metadata.csv")
#: What splits are called that nobody trains on, and what others are.
_HELD_OUT_NAMES = frozenset(("test", "dev", "val", "valid", "validation", "eval", "evaluation"))
_SPLIT_NAMES = _HELD_OUT_NAMES | {"train", "training", "validated", "invalidated", "other"}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tgz")
#: NeMo's list of sounds in tar files.
_TARRED = "tarred_audio_manifest.json"
_NUMBERED = r"([-_.]?[0-9][0-9A-Za-z_-]*)?"


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
    """Files of one split, by their paths in the folder: one manifest, one wav.scp, all line indexes, or all shards."""

    folder: DataFolder
    format: Format
    paths: Tuple[str, ...]
    #: Of a list of all clips, the names of folders that tell its splits.
    folders: Optional[SplitFolders] = None

    @property
    def name(self) -> str:
        """Return what messages call the split's files."""
        first = posixpath.basename(self.paths[0])
        return first if len(self.paths) == 1 else f"{first} and {len(self.paths) - 1} more"


def find(folder: DataFolder, split: str, *, is_train: bool, held_out: Optional[str] = None) -> SplitFiles:
    """Return the files of a split; DatasetNotFound says what there is instead.

    The train split may also be all that the folder holds, under no split's name: all of a list of clips but those in a
    folder of another split. So the split that is held out may be the rows of that list in a folder of its name.
    """
    found = _by_name(folder, split)
    if found is None and is_train:
        found = _without_a_name(folder, (_HELD_OUT_NAMES | {held_out or split}) - {split})
    if found is None and not is_train:
        found = _list_of_all(folder, SplitFolders(only=split))
    if found is None:
        raise missing(folder, split)
    return found


def of_file(folder: DataFolder, name: str, split: str, *, is_train: bool) -> SplitFiles:
    """Return a source that is one file: all of it is the train split; DatasetNotFound, DatasetInvalid."""
    address = f"{folder.address}/{name}"
    if not is_train:
        raise TrainerError(
            "DatasetNotFound",
            f"dataset.evalSplit {split}: {address} is one manifest and all of it is the train split; "
            "let dataset.source name the folder that holds both splits",
        )
    kind = _format(name)
    if kind is None:
        known = ", ".join((*manifest.SUFFIXES, ".parquet", ".tar", WAV_SCP))
        advice = "; it is compressed: unpack it first" if name.endswith(_COMPRESSED) else ""
        raise TrainerError("DatasetInvalid", f"{quoted(name)} is no manifest; one of {known} is expected{advice}")
    return SplitFiles(folder, kind, (name,))


def _format(name: str) -> Optional[Format]:
    if name == WAV_SCP:
        return "kaldi"
    if line_index.is_one(name):
        return "line index"
    if name.endswith(".tar"):
        return "tar"
    if name.endswith(".parquet"):
        return "parquet"
    return "manifest" if manifest.is_manifest(name) else None


def _by_name(folder: DataFolder, split: str) -> Optional[SplitFiles]:
    for path in _manifests(split):
        if folder.is_file(path):
            return SplitFiles(folder, "manifest", (path,))
    for path in (f"{split}/{WAV_SCP}", f"data/{split}/{WAV_SCP}"):
        if folder.is_file(path):
            return SplitFiles(folder, "kaldi", (path,))
    return _shards_by_name(folder, split)


def _shards_by_name(folder: DataFolder, split: str) -> Optional[SplitFiles]:
    named = re.compile(f"^{re.escape(split)}{_NUMBERED}$")
    for place in ("", "data", "audio"):
        found = _shards(folder, place, named)
        if found:
            return found
    return _shards(folder, split) or _shards(folder, f"data/{split}")


def _shards(folder: DataFolder, place: str, named: Optional["re.Pattern[str]"] = None) -> Optional[SplitFiles]:
    """Return the shards in a folder; `named` is what their names without suffix must match."""
    formats: Tuple[Format, Format] = ("parquet", "tar")
    for kind in formats:
        stems = [name[: -len(kind) - 1] for name in folder.names(place) if name.endswith(f".{kind}")]
        kept = [f"{stem}.{kind}" for stem in stems if named is None or named.match(stem)]
        if kept:
            return SplitFiles(folder, kind, tuple(posixpath.join(place, name) for name in kept))
    return None


def _list_of_all(folder: DataFolder, folders: SplitFolders) -> Optional[SplitFiles]:
    path = next(filter(folder.is_file, _LISTS_OF_ALL), None)
    return None if path is None else SplitFiles(folder, "manifest", (path,), folders)


def _without_a_name(folder: DataFolder, other_splits: FrozenSet[str]) -> Optional[SplitFiles]:
    found = _list_of_all(folder, SplitFolders(only=None, others=other_splits))
    if found is not None:
        return found
    if folder.is_file(_TARRED):
        return SplitFiles(folder, "manifest", (_TARRED,))
    if folder.is_file(WAV_SCP):
        return SplitFiles(folder, "kaldi", (WAV_SCP,))
    indexes = _line_indexes(folder)
    if indexes:
        return SplitFiles(folder, "line index", indexes)
    # Shards that are named after other splits are not the train split's.
    return _shards(folder, "", re.compile("^[0-9]")) if not splits_of(folder) else None


def _line_indexes(folder: DataFolder) -> Tuple[str, ...]:
    """Return those at the top, and those in the folders that OpenSLR's archives are unpacked to."""
    places = ["", *(name for name in folder.names() if folder.is_folder(name))]
    return tuple(
        posixpath.join(place, name) for place in places for name in folder.names(place) if line_index.is_one(name)
    )


def _manifests(split: str) -> List[str]:
    names = [f"{split}.{suffix}" for suffix in ("jsonl", "csv", "tsv", "json")]
    names += [f"{split}_manifest.json", f"{split}/{_TARRED}", f"{split}/metadata.jsonl", f"{split}/metadata.csv"]
    return [*names, f"{split}/manifest.jsonl", f"{split}/manifest.json"]


def splits_of(folder: DataFolder) -> Tuple[str, ...]:
    """Return the splits that a folder has by the names in it."""
    stems = (re.sub(f"{_NUMBERED}$", "", name.rsplit(".", 1)[0]) for name in _named(folder))
    return tuple(sorted({stem for stem in stems if stem and _by_name(folder, stem)}))


def _named(folder: DataFolder) -> Iterable[str]:
    yield from (name for name in (*folder.names(), *folder.names("data")) if _format(name) != "manifest")
    yield from (name.replace("_manifest.json", ".json") for name in folder.names() if _is_named_after_a_split(name))


def _is_named_after_a_split(name: str) -> bool:
    """Return whether a file is the list of a split by its name: other tables, and JSON, may be anything."""
    if _format(name) != "manifest" or name in {*_LISTS_OF_ALL, _TARRED}:
        return False
    return name.endswith((".jsonl", "_manifest.json")) or _is_of_a_split(name)


def _is_of_a_split(name: str) -> bool:
    return re.split("[-_.]", name, maxsplit=1)[0] in _SPLIT_NAMES


def missing(folder: DataFolder, split: str) -> TrainerError:
    """Return what is said where a folder has no such split: which ones it has, what it looks like, what it holds."""
    splits = splits_of(folder)
    if splits:
        are_parts = len(splits) > 1 and not any(map(_is_of_a_split, splits))
        advice = "; if these are parts of one split, put their lines into one train.jsonl" if are_parts else ""
        said = f"split {split}: {folder.address} has the splits {listed(splits)}{advice}"
        return TrainerError("DatasetNotFound", said)
    said = folder_shapes.of_folder(folder) or (
        f"no layout that is read here is in it, such as {split}.jsonl, {split}.csv, {split}/metadata.csv, "
        f"{split}/{WAV_SCP}, {split}-*.tar or {split}-*.parquet"
    )
    others = [name for name in folder.names() if _format(name) == "manifest" and name not in _LISTS_OF_ALL]
    more = f"; if {quoted(others[0])} is a list of clips, let dataset.source name it" if others else ""
    held = listed(folder.names()) if folder.names() else "nothing"
    return TrainerError(
        "DatasetNotFound", f"split {split}: {folder.address} holds {held}: {said}{more}; docs/data.md has all layouts"
    )
