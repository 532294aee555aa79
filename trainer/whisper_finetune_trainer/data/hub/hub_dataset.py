"""A data set of the Hugging Face Hub by its id: its Parquet files, or the Hub's conversion. Its code is never run.

The repository's card says which files belong to which configuration and split. Otherwise their names do.
"""

import logging
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, ContextManager, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import RevisionNotFoundError

from whisper_finetune_api.run import HubCommits
from whisper_finetune_api.v1alpha1 import Dataset
from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.hub import known_datasets
from whisper_finetune_trainer.data.hub.known_datasets import KnownDataset
from whisper_finetune_trainer.data.layouts.layout import SplitFiles
from whisper_finetune_trainer.data.layouts.parquet_shards import PARQUET
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.messages.errors import TrainerError, listed
from whisper_finetune_trainer.stores import hub

#: The revision with the Hub's own conversion of a data set. `partial-` marks splits that it did not convert to the end.
CONVERSION = "refs/convert/parquet"
_CONVERTED = re.compile(r"^(?P<config>[^/]+)/(?P<partial>partial-)?(?P<split>[^/]+?)(-part\d+)?/\d+\.parquet$")
_DEFAULT = "default"
#: For files that no card names: config/split-00000-of-00001.parquet, config/split/0000.parquet, data/split-*.parquet.
_BY_NAME = (
    re.compile(r"^(?:(?P<config>(?!data/)[^/]+)/)?(?:data/)?(?P<split>[^/]+?)-\d{5}-of-\d{5}[^/]*\.parquet$"),
    re.compile(r"^(?P<config>(?!data/)[^/]+)/(?P<split>[^/]+)/[^/]+\.parquet$"),
    re.compile(r"^(?:(?P<config>(?!data/)[^/]+)/)?(?:data/)?(?P<split>[^/]+?)\.parquet$"),
)


@dataclass(frozen=True)
class SplitShards:
    """The Parquet files of one split, in order. `is_partial` says that the Hub's conversion does not have all of it."""

    paths: Tuple[str, ...]
    is_partial: bool = False


#: The files of each split of each configuration.
SplitsByConfig = Mapping[str, Mapping[str, SplitShards]]


def files_of_repository(files: Sequence[str], card_configs: Any) -> SplitsByConfig:
    """Return the splits of a repository's own Parquet files: as its card says, else by their names."""
    shards = sorted(name for name in files if name.endswith(".parquet"))
    return _by_card(shards, card_configs) or _collected(_by_name(shards))


def files_of_conversion(files: Iterable[str]) -> SplitsByConfig:
    """Return the splits of the Hub's conversion."""
    found = ((_CONVERTED.match(name), name) for name in sorted(files))
    return _collected(
        (match["config"], match["split"], name, bool(match["partial"])) for match, name in found if match is not None
    )


def _by_name(shards: Iterable[str]) -> Iterator[Tuple[str, str, str, bool]]:
    for name in shards:
        match = next((match for match in (pattern.match(name) for pattern in _BY_NAME) if match), None)
        if match is not None:
            yield match["config"] or _DEFAULT, match["split"], name, False


def _by_card(shards: Sequence[str], card_configs: Any) -> SplitsByConfig:
    found: List[Tuple[str, str, str, bool]] = []
    for config in card_configs if isinstance(card_configs, list) else []:
        for split, pattern in _data_files(config):
            matched = [name for name in shards if fnmatchcase(name, pattern)]
            found += [(str(config.get("config_name", _DEFAULT)), split, name, False) for name in matched]
    return _collected(found)


def _data_files(config: Any) -> Iterator[Tuple[str, str]]:
    """Yield (split, pattern of its files) for one entry of a card's `configs`."""
    entries = config.get("data_files") if isinstance(config, dict) else None
    if isinstance(entries, str):
        yield "train", entries
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, str):
            yield "train", entry
        elif isinstance(entry, dict):
            paths = entry.get("path")
            for pattern in paths if isinstance(paths, list) else [paths]:
                yield str(entry.get("split", "train")), str(pattern)


def _collected(found: Iterable[Tuple[str, str, str, bool]]) -> SplitsByConfig:
    layout: Dict[str, Dict[str, SplitShards]] = {}
    for config, split, name, is_partial in found:
        splits = layout.setdefault(config, {})
        known: Optional[SplitShards] = splits.get(split)
        splits[split] = SplitShards((*known.paths, name) if known else (name,), is_partial)
    return layout


_KIND = "dataset"
logger = logging.getLogger(__name__)


class _Tree(NamedTuple):
    """The Parquet files of one commit."""

    commit: str
    layout: SplitsByConfig
    is_conversion: bool


def commits_of_repository(source: str, revision: Optional[str]) -> HubCommits:
    """Return the newest commits of a data set's revision and of its conversion.

    Raises DatasetNotFound or AccessDenied.
    """
    with _explained(source, revision):
        left = known_datasets.has_left_the_hub(source)
        if left is not None:
            raise TrainerError("DatasetNotFound", f"dataset.source: {left}")
        own = HfApi().dataset_info(source, revision=revision).sha
        return HubCommits(dataset=own, conversion=_conversion_commit(source))


class HubDataset:
    """A data set of the Hub. It finds the files of its splits."""

    def __init__(self, dataset: Dataset, language: str, commits: HubCommits) -> None:
        """`language` is Whisper's code, for known data sets with a configuration per language.

        `commits` are the commits to read.
        """
        self._dataset = dataset
        self._language = language
        self._commits = commits
        #: What is known of the data set without the spec.
        self.known: Optional[KnownDataset] = known_datasets.find_known_dataset(dataset.source)
        self._own = lru_cache(maxsize=1)(self._read_own)
        self._conversion = lru_cache(maxsize=1)(self._read_conversion)

    def find(self, split: str, *, is_train: bool) -> SplitFiles:
        """Return a split's files. Raises DatasetNotFound, AccessDenied, ConfigInvalid or DatasetInvalid."""
        source = self._dataset.source
        with _explained(source, self._commits.dataset):
            tree = self._tree()
            config = self._config(tree.layout)
            shards = self._shards(tree, config, split, is_train=is_train)
            # Everyone may list the files of a gated repository, but not read them. So one file is asked for here.
            get_hf_file_metadata(hf_hub_url(source, shards.paths[0], repo_type=_KIND, revision=tree.commit))
        logger.info(
            "%s, configuration %s, split %s: %d Parquet files of commit %s%s",
            source,
            config,
            split,
            len(shards.paths),
            tree.commit,
            " (the Hub's conversion)" if tree.is_conversion else "",
        )
        return SplitFiles(self._folder(tree.commit), PARQUET, shards.paths)

    def _folder(self, commit: str) -> DataFolder:
        root = f"datasets/{self._dataset.source}@{commit}"
        return DataFolder(source_files.filesystem_of("hf://any"), root, self._dataset.source, prefix="hf://")

    def _tree(self) -> _Tree:
        """Return the repository's own Parquet files if they have the wanted configuration, else the conversion."""
        own = self._own()
        wanted = self._wanted_config()
        if own.layout and (wanted is None or wanted in own.layout or self._dataset.revision is not None):
            return own
        if self._dataset.revision is not None:
            raise TrainerError(
                "ConfigInvalid",
                f"dataset.revision: {self._dataset.source} has no Parquet files at {self._dataset.revision}, and "
                "the Hub converts the newest commit only; leave dataset.revision out",
            )
        return self._conversion() or own

    def _read_own(self) -> _Tree:
        commit = self._commits.dataset
        info = HfApi().dataset_info(self._dataset.source, revision=commit)
        card = dict(info.card_data.__dict__) if info.card_data else {}
        files = [entry.rfilename for entry in info.siblings or []]
        layout = files_of_repository(files, card.get("configs"))
        return _Tree(str(commit), layout, is_conversion=False)

    def _read_conversion(self) -> Optional[_Tree]:
        commit = self._commits.conversion
        if commit is None:
            return None
        info = HfApi().dataset_info(self._dataset.source, revision=commit)
        files = [entry.rfilename for entry in info.siblings or []]
        return _Tree(commit, files_of_conversion(files), is_conversion=True)

    def _wanted_config(self) -> Optional[str]:
        if self._dataset.config is not None:
            return self._dataset.config
        configs = self.known.configs.get(self._language, ()) if self.known else ()
        return configs[0] if len(configs) == 1 else None

    def _config(self, layout: SplitsByConfig) -> str:
        if not layout:
            raise TrainerError(
                "DatasetInvalid",
                f"dataset.source: {self._dataset.source} has no Parquet files and the Hub has not converted it; a data "
                "set's code is never run here: download it, and put it on a volume or a bucket in one of the layouts "
                f"of docs/data.md, or read its files as they are by hf://{self._dataset.source}",
            )
        wanted = self._wanted_config()
        if wanted is None and len(layout) == 1:
            return next(iter(layout))
        if wanted is None:
            wanted = "default" if "default" in layout else None
        if wanted is not None and wanted in layout:
            return wanted
        raise TrainerError("ConfigInvalid" if wanted is None else "DatasetNotFound", self._no_config(wanted, layout))

    def _no_config(self, wanted: Optional[str], layout: SplitsByConfig) -> str:
        of_language = self.known.configs.get(self._language, ()) if self.known else ()
        among = f"those with this language are {', '.join(of_language)}" if of_language else f"it has {_listed(layout)}"
        what = f"{self._dataset.source} has no configuration {wanted}" if wanted else "give one"
        return f"dataset.config: {what}; {among}"

    def _shards(self, tree: _Tree, config: str, split: str, *, is_train: bool) -> SplitShards:
        splits: Mapping[str, SplitShards] = tree.layout[config]
        name = split
        if is_train and split not in splits and split == "train" and self.known:
            name = self.known.train_split
        if name not in splits:
            field = "trainSplit" if is_train else "evalSplit"
            raise TrainerError(
                "DatasetNotFound",
                f"dataset.{field}: {self._dataset.source} ({config}) has no split {split}; it has {_listed(splits)}",
            )
        if splits[name].is_partial and not self._dataset.allow_partial:
            raise TrainerError(
                "DatasetInvalid",
                f"dataset.source: the Hub's conversion of {self._dataset.source} ({config}, split {name}) is partial: "
                "it ends after about the first 5 GB; accept that part by dataset.allowPartial: true, or download the "
                "data set and put it on a volume or a bucket",
            )
        return splits[name]


def _conversion_commit(source: str) -> Optional[str]:
    try:
        return HfApi().dataset_info(source, revision=CONVERSION).sha
    except RevisionNotFoundError:
        return None


def _explained(source: str, revision: Optional[str]) -> ContextManager[None]:
    page = f"https://huggingface.co/datasets/{source}"
    return hub.explain_hub_faults("dataset.source", source, revision, missing="DatasetNotFound", page=page)


def _listed(names: Iterable[str]) -> str:
    return listed(sorted(names))
