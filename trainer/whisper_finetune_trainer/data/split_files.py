"""Which files a split of a folder is made of, by the layouts that speech data sets come in."""

import posixpath
import re
from dataclasses import dataclass
from typing import Iterable, List, Optional, Tuple

from typing_extensions import Literal

from whisper_finetune_trainer.data import line_index, manifest
from whisper_finetune_trainer.data.data_folder import DataFolder
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.quoting import listed, quoted

Format = Literal["manifest", "kaldi", "line index", "tar", "parquet"]
#: Kaldi's list of recordings; the texts lie beside it.
WAV_SCP = "wav.scp"
#: NeMo's list of sounds in tar files.
_TARRED = "tarred_audio_manifest.json"
_NUMBERED = r"([-_.]?[0-9][0-9A-Za-z_-]*)?"


@dataclass(frozen=True)
class SplitFiles:
    """Files of one split, by their paths in the folder: one manifest, one wav.scp, all line indexes, or all shards."""

    folder: DataFolder
    format: Format
    paths: Tuple[str, ...]

    @property
    def name(self) -> str:
        """Return what messages call the split's files."""
        first = posixpath.basename(self.paths[0])
        return first if len(self.paths) == 1 else f"{first} and {len(self.paths) - 1} more"


def find(folder: DataFolder, split: str, *, is_train: bool) -> SplitFiles:
    """Return the files of a split; DatasetNotFound says what there is instead.

    The train split may also be all that the folder holds, under no split's name.
    """
    found = _by_name(folder, split)
    if found is None and is_train:
        found = _without_a_name(folder)
    if found is None:
        raise TrainerError("DatasetNotFound", _missing(folder, split, is_train=is_train))
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
        raise TrainerError("DatasetInvalid", f"{quoted(name)} is no manifest; one of {known} is expected")
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


def _without_a_name(folder: DataFolder) -> Optional[SplitFiles]:
    for path in ("manifest.jsonl", "manifest.json", "metadata.jsonl", "metadata.csv", _TARRED):
        if folder.is_file(path):
            return SplitFiles(folder, "manifest", (path,))
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
    yield from (name.replace("_manifest.json", ".json") for name in folder.names() if _format(name) == "manifest")


def _missing(folder: DataFolder, split: str, *, is_train: bool) -> str:
    splits = splits_of(folder)
    if splits:
        return f"split {split}: {folder.address} has the splits {listed(splits)}"
    wanted = ", ".join([*_manifests(split), *(("manifest.jsonl", "metadata.csv") if is_train else ())])
    held = listed(folder.names())
    return (
        f"split {split}: none of {wanted}, {split}/{WAV_SCP}, {split}-*.parquet and {split}-*.tar "
        f"is in {folder.address}, which holds {held if folder.names() else 'nothing'}"
    )
