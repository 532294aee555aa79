from __future__ import annotations

from typing import Any

import pytest

from whisper_finetune_trainer.data.hub.hub_dataset import SplitsByConfig, files_of_conversion, files_of_repository

OWN: dict[str, tuple[list[str], Any, dict[str, dict[str, list[str]]]]] = {
    "one configuration": (
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "README.md"],
        None,
        {"default": {"train": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]}},
    ),
    "configurations": (
        ["it/train-00000-of-00001-0a1b2c.parquet", "it/test-00000-of-00001.parquet", "fr/dev.parquet"],
        None,
        {
            "it": {"train": ["it/train-00000-of-00001-0a1b2c.parquet"], "test": ["it/test-00000-of-00001.parquet"]},
            "fr": {"dev": ["fr/dev.parquet"]},
        },
    ),
    "folders of splits": (
        ["clean/train.100/0000.parquet", "clean/train.100/0001.parquet"],
        None,
        {"clean": {"train.100": ["clean/train.100/0000.parquet", "clean/train.100/0001.parquet"]}},
    ),
    "card": (
        ["a/0.parquet", "b/1.parquet", "b/2.parquet"],
        [
            {"config_name": "x", "data_files": [{"split": "train", "path": ["b/*"]}, {"split": "test", "path": "a/*"}]},
            {"config_name": "y", "data_files": "b/1.parquet"},
        ],
        {"x": {"train": ["b/1.parquet", "b/2.parquet"], "test": ["a/0.parquet"]}, "y": {"train": ["b/1.parquet"]}},
    ),
    "no Parquet": (["it.py", "data/train.tar"], None, {}),
    "a card of nonsense": (["train.parquet"], {"configs": 3}, {"default": {"train": ["train.parquet"]}}),
}


def plain(layout: SplitsByConfig) -> dict[str, dict[str, list[str]]]:
    return {
        config: {split: list(shards.paths) for split, shards in splits.items()} for config, splits in layout.items()
    }


@pytest.mark.parametrize(("files", "card", "expected"), OWN.values(), ids=OWN)
def test_layouts_of_repositories(files: list[str], card: Any, expected: dict[str, dict[str, list[str]]]) -> None:
    assert plain(files_of_repository(files, card)) == expected


def test_the_layout_of_a_conversion() -> None:
    layout = files_of_conversion(
        ["it/train/0001.parquet", "it/train/0000.parquet", "en/partial-train/0000.parquet", "en/test-part1/0.parquet"]
    )
    assert plain(layout) == {
        "it": {"train": ["it/train/0000.parquet", "it/train/0001.parquet"]},
        "en": {"train": ["en/partial-train/0000.parquet"], "test": ["en/test-part1/0.parquet"]},
    }
    assert layout["en"]["train"].is_partial
    assert not layout["en"]["test"].is_partial
