"""Where a run's data comes from: a volume, an object store, a repository's files, or the Hub by id."""

import posixpath
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Optional, Union

import fsspec

from whisper_finetune_api import addresses
from whisper_finetune_api.languages import language_code
from whisper_finetune_api.run import HubCommits
from whisper_finetune_api.v1alpha1 import Dataset
from whisper_finetune_trainer.data.files.data_folder import DataFolder
from whisper_finetune_trainer.data.hub import hub_dataset
from whisper_finetune_trainer.data.hub.hub_dataset import HubDataset
from whisper_finetune_trainer.data.layouts import split_files
from whisper_finetune_trainer.data.layouts.layout import SplitFiles
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.stores import object_store, volumes
from whisper_finetune_trainer.stores.volumes import Mount

_FIELD = "dataset.source"


@dataclass(frozen=True)
class FolderSource:
    """A folder, or one file of it that is the whole data set."""

    folder: DataFolder
    file_name: Optional[str] = None
    #: The split to measure on, which is not trained on.
    held_out: Optional[str] = None

    def find(self, split: str, *, is_train: bool) -> SplitFiles:
        """Return the files of a split. DatasetNotFound or DatasetInvalid."""
        if self.file_name is not None:
            return split_files.files_of_one(self.folder, self.file_name, split, is_train=is_train)
        return split_files.find_split_files(self.folder, split, is_train=is_train, held_out=self.held_out)


DataSource = Union[FolderSource, HubDataset]


def open_source(dataset: Dataset, language: str, mounted: Mapping[str, str], commits: HubCommits) -> DataSource:
    """Return the source of a run's data. ConfigInvalid, DatasetNotFound or AccessDenied.

    `mounted` are the folders that claims are mounted at, `commits` those of the Hub that the run reads, as far as any
    are chosen.
    """
    with refusals_explained(dataset.source):
        return _open_source(dataset, language, mounted, commits)


@contextmanager
def refusals_explained(source: str) -> Iterator[None]:
    """Turn the refusals of whatever holds the data into TrainerErrors."""
    address = addresses.parse_address(source)
    if address is None:
        yield
    elif address.scheme == "pvc":
        with volumes.readable(source, _FIELD):
            yield
    else:
        with object_store.open_store(source, _FIELD).explained("DatasetNotFound"):
            yield


def _open_source(dataset: Dataset, language: str, mounted: Mapping[str, str], commits: HubCommits) -> DataSource:
    address = addresses.parse_address(dataset.source)
    if address is None:
        known = newest_commits(dataset) if commits.dataset is None else commits
        return HubDataset(dataset, language_code(language), known)
    _refuse_hub_fields(dataset)
    if address.scheme == "pvc":
        path, mount = volumes.local_path(dataset.source, _FIELD, mounted), volumes.mount_of(dataset.source, mounted)
        around = _local(path.parent, posixpath.dirname(dataset.source), mount)
        return _of_folder(_local(path, dataset.source, mount), around, dataset)
    store = object_store.open_store(dataset.source, _FIELD)
    root = _at_commit(store.root, commits.dataset) if address.scheme == "hf" else store.root
    whole = DataFolder(store.filesystem, root, dataset.source, prefix=f"{address.scheme}://")
    parent = posixpath.dirname(root), posixpath.dirname(dataset.source)
    around = DataFolder(store.filesystem, *parent, prefix=f"{address.scheme}://")
    if whole.kind("") is None:
        # Its refusal says whether the bucket or the folder is missing.
        store.filesystem.ls(root)
    return _of_folder(whole, around, dataset)


def newest_commits(dataset: Dataset) -> HubCommits:
    """Return the commits that are read where no earlier attempt has chosen any. Raises what the Hub refuses."""
    address = addresses.parse_address(dataset.source)
    if address is None:
        return hub_dataset.commits_of_repository(dataset.source, dataset.revision)
    if address.scheme != "hf":
        return HubCommits()
    repository = f"{address.authority}/{address.path.split('/', 1)[0]}"
    return HubCommits(dataset=hub_dataset.commits_of_repository(repository, None).dataset)


def _at_commit(root: str, commit: Optional[str]) -> str:
    """Return `datasets/OWNER/NAME@COMMIT/PATH`."""
    kind, owner, name, *path = root.split("/")
    return root if commit is None else "/".join([kind, owner, f"{name}@{commit}", *path])


def _local(path: Path, address: str, mount: Mount) -> DataFolder:
    return DataFolder(fsspec.filesystem("file"), str(path), address, mount=mount)


def _of_folder(folder: DataFolder, around: DataFolder, dataset: Dataset) -> FolderSource:
    kind = folder.kind("")
    if kind is None:
        raise TrainerError("DatasetNotFound", f"{_FIELD}: there is nothing at {folder.address}")
    if kind == "file":
        return FolderSource(around, posixpath.basename(folder.root))
    return FolderSource(folder, held_out=dataset.eval_split)


def _refuse_hub_fields(dataset: Dataset) -> None:
    for name, value in (("config", dataset.config), ("revision", dataset.revision)):
        if value is not None:
            raise TrainerError(
                "ConfigInvalid", f"dataset.{name} is for data sets of the Hub, and dataset.source is {dataset.source}"
            )
