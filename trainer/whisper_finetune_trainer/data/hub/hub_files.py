"""Which Parquet files of a Hub repository belong to which configuration and split. Pure."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

#: Where the Hub keeps its own conversion of a data set, and how it marks the splits that it stopped in.
CONVERSION = "refs/convert/parquet"
_CONVERTED = re.compile(r"^(?P<config>[^/]+)/(?P<partial>partial-)?(?P<split>[^/]+?)(-part\d+)?/\d+\.parquet$")
_DEFAULT = "default"
#: Without a card that says it: config/split-00000-of-00001.parquet, config/split/0000.parquet, data/split-*.parquet.
_BY_NAME = (
    re.compile(r"^(?:(?P<config>(?!data/)[^/]+)/)?(?:data/)?(?P<split>[^/]+?)-\d{5}-of-\d{5}[^/]*\.parquet$"),
    re.compile(r"^(?P<config>(?!data/)[^/]+)/(?P<split>[^/]+)/[^/]+\.parquet$"),
    re.compile(r"^(?:(?P<config>(?!data/)[^/]+)/)?(?:data/)?(?P<split>[^/]+?)\.parquet$"),
)


@dataclass(frozen=True)
class SplitShards:
    """Parquet files of one split, in order. `is_partial` where the Hub's conversion stopped before its end."""

    paths: Tuple[str, ...]
    is_partial: bool = False


#: Configuration to split to its files.
SplitsByConfig = Mapping[str, Mapping[str, SplitShards]]


def files_of_repository(files: Sequence[str], card_configs: Any) -> SplitsByConfig:
    """Return the layout of a repository's own Parquet files: as its card says, else by their names."""
    shards = sorted(name for name in files if name.endswith(".parquet"))
    return _by_card(shards, card_configs) or _collected(_by_name(shards))


def files_of_conversion(files: Iterable[str]) -> SplitsByConfig:
    """Return the layout of the Hub's conversion."""
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
    """Yield (split, pattern) of one entry of a card's `configs`."""
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
