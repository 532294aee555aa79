"""Whole attempts of a tiny model on data that is not in plain files of a volume."""

from __future__ import annotations

from pathlib import Path

import pytest

import data_layouts
import tiny_whisper
from object_store import versitygw
from trainer_attempts import Volume
from whisper_finetune_api.v1alpha1 import DataSummary

pytestmark = pytest.mark.slow

TRAINED = DataSummary(train_clips=8, eval_clips=2, dropped_clips=0, split="Fraction")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    tiny_whisper.build(tmp_path / "speech/model")
    return Volume(tmp_path / "speech", tmp_path)


def test_an_attempt_on_tar_shards_of_a_bucket(volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_layouts.webdataset(tmp_path / "shards")
    with versitygw.serving(tmp_path / "store") as store:
        store.filesystem.mkdir("speech")
        store.filesystem.put(f"{tmp_path}/shards/", "speech/it/", recursive=True)
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        ended = volume.attempt(volume.config(spec={"dataset": {"source": "s3://speech/it"}}, steps=2))
    assert (ended.exit_code, ended.result.data) == (0, TRAINED), ended.result.message


def test_an_attempt_on_segments_of_recordings(volume: Volume) -> None:
    data_layouts.kaldi_segments(volume.speech / "talks")
    ended = volume.attempt(volume.config(spec={"dataset": {"source": "pvc://speech/talks"}}, steps=2))
    assert (ended.exit_code, ended.result.data) == (0, TRAINED), ended.result.message


def test_an_attempt_on_parquet_shares_the_scratch_space_with_the_caches(volume: Volume) -> None:
    data_layouts.parquet_of_the_hub(volume.speech / "shards")
    spec = {"dataset": {"source": "pvc://speech/shards"}}
    ended = volume.attempt(volume.config(spec=spec, steps=2, trainable="Decoder"))
    assert (ended.exit_code, ended.result.data) == (0, TRAINED), ended.result.message
    assert list((volume.folder / "scratch").glob("sounds-*"))
