"""Runs on a streamed data set: one that was stopped and resumed ends with exactly the weights of one that was not."""

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

import clip_loading
import shards
import tiny_whisper
from trainer_attempts import Volume, stop_at
from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data.streams.streamed_clips import is_held_out

pytestmark = pytest.mark.slow

CLIPS = 44
#: One and a half epochs.
STEPS = 14
FRACTION = 0.15


class Finished(NamedTuple):
    """What a run that was not stopped came to."""

    weights: dict[str, torch.Tensor]
    result: dict[str, Any]
    #: All clips of the data set.
    names: list[str]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model", window_seconds=2)
    shards.write_tars(folder / "tar", CLIPS, 9)
    shards.write_parquets(folder / "parquet", CLIPS, 17)
    return folder


def new_volume(speech: Path, folder: Path) -> Volume:
    folder.mkdir()
    return Volume(speech, folder)


def config_of(volume: Volume, source: str, **training: Any) -> TrainerConfig:
    dataset = {"source": f"pvc://speech/{source}", "evalFraction": str(FRACTION)}
    return volume.config(spec={"dataset": dataset}, **{"steps": STEPS, **training})


@pytest.fixture(scope="module", params=["tar", "parquet"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def finished(speech: Path, source: str, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    volume = new_volume(speech, tmp_path_factory.mktemp("runs") / "whole")
    config = config_of(volume, source)
    assert volume.attempt(config, limits=shards.LIMITS).exit_code == 0
    listed = clip_loading.load_clips(config)
    names = [clip.identifier for clip in (*listed.train.listed, *listed.evaluation)]
    return Finished(volume.weights(), volume.json("result.json"), names)


#: In the first block, in a later one, at the epoch's end, and in the next epoch.
@pytest.mark.parametrize("step", [1, 7, 9, 12])
def test_a_stopped_run_goes_on_exactly(
    speech: Path, source: str, finished: Finished, tmp_path: Path, step: int
) -> None:
    volume = new_volume(speech, tmp_path / "parted")
    assert volume.attempt(config_of(volume, source), stop_at(step), limits=shards.LIMITS).exit_code == 75
    assert volume.attempt(config_of(volume, source), limits=shards.LIMITS).exit_code == 0
    found = volume.weights()
    assert [name for name in found if not torch.equal(found[name], finished.weights[name])] == []
    assert volume.json("result.json")["data"] == finished.result["data"]


def test_steps_that_are_prepared_ahead_do_not_count_as_taken(
    speech: Path, source: str, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a GPU: threads prepare the four steps that follow, over the end of a block and of the epoch.
    monkeypatch.setitem(run_plan.FEATURE_THREADS, "cpu", run_plan.FEATURE_THREADS["cuda"])
    volume = new_volume(speech, tmp_path / "parted")
    for step in (2, 8):
        assert volume.attempt(config_of(volume, source), stop_at(step), limits=shards.LIMITS).exit_code == 75
    assert volume.attempt(config_of(volume, source), limits=shards.LIMITS).exit_code == 0
    found = volume.weights()
    assert [name for name in found if not torch.equal(found[name], finished.weights[name])] == []


def test_what_was_read_is_counted_once_and_the_rest_of_the_held_out_clips_not_at_all(finished: Finished) -> None:
    data = finished.result["data"]
    assert (data["split"], data["droppedClips"]) == ("Hash", 0)
    assert 0 < data["evalClips"] <= shards.LIMITS.held_out_clips
    assert data["trainClips"] == sum(not is_held_out(name, FRACTION) for name in finished.names)


def test_shards_of_more_than_64_gib_are_a_stream_and_of_less_are_not(speech: Path, tmp_path: Path) -> None:
    shards.write_tars(tmp_path / "tar", 30, 10)
    # A tar file of zeros has no members, and a disk does not store them.
    large = tmp_path / "tar/train-999999.tar"
    large.touch()
    shutil.copytree(speech / "model", tmp_path / "model")
    found = {}
    for size in (64, 65):
        os.truncate(large, size * 1024**3 - 2 * 1024**2)
        volume = new_volume(tmp_path, tmp_path / f"runs-{size}")
        ended = volume.attempt(config_of(volume, "tar", steps=2))
        assert ended.exit_code == 0
        assert ended.result.data is not None
        found[size] = ended.result.data.split
    assert found == {64: "Fraction", 65: "Hash"}


def test_a_frozen_encoder_is_not_cached(speech: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume = new_volume(speech, tmp_path / "runs")
    config = config_of(volume, "tar", steps=2, trainable="Decoder")
    assert volume.attempt(config, limits=shards.LIMITS).exit_code == 0
    before = load_file(str(speech / "model/model.safetensors"))
    assert all(torch.equal(volume.weights()[name], before[name]) for name in before if ".encoder." in name)
