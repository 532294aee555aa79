"""Train clips whose sound breaks after it was inspected: other clips replace them, and the run goes on."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import clip_loading
import model_loading
import tiny_whisper
import tones
import trainer_configs
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model.examples import ReplacementClips
from whisper_finetune_trainer.pytorch.backend import TorchBackend

pytestmark = pytest.mark.slow

STEPS = 8


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return a volume whose clips fill windows of 5 and 10 seconds of a model that hears 12."""
    tiny_whisper.build(tmp_path / "model", window_seconds=12)
    tones.write_clips(tmp_path / "clips", 16)
    tones.write_clips(tmp_path / "clips", 6, seconds=6.0, name="longer")
    manifest = tmp_path / "clips/train.jsonl"
    longer = (tmp_path / "clips/longer.jsonl").read_text(encoding="utf-8")
    manifest.write_text(manifest.read_text(encoding="utf-8") + longer, encoding="utf-8")
    return tmp_path


class Run:
    """A backend with what it was made from; `train` replaces the train clips."""

    def __init__(
        self, volume: Path, train: list[Clip] | None = None, scratch_limit_bytes: int = 100_000_000, **training: Any
    ) -> None:
        values = {"steps": STEPS, "learningRate": "0.001", "batchSize": 4, "precision": "Float", **training}
        made = trainer_configs.config_on(volume, {f"training.{name}": value for name, value in values.items()})
        config = made.model_copy(update={"scratch_limit_bytes": scratch_limit_bytes, "scratch_folder": str(volume)})
        self.loaded = model_loading.load_model(config)
        found = clip_loading.load_clips(config)
        self.clips = found if train is None else replace(found, train=replace(found.train, listed=tuple(train)))
        self.backend = TorchBackend(tiny_whisper.backend_settings(config), self.loaded, self.clips)

    def train(self, first_step: int = 0, last_step: int = STEPS) -> list[float]:
        losses = []
        for done in self.backend.steps(first_step):
            losses.append(done.loss)
            if done.step == last_step:
                break
        return losses

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().clone() for name, weight in self.loaded.network.named_parameters()}


def window_of(clip: Clip) -> int:
    return 5 if clip.seconds <= 5 else 10


def damage(clip: Clip) -> None:
    Path(clip.audio.file).write_bytes(b"no sound")


def next_that_fits(run: Run, place: int) -> Clip:
    train = run.clips.train.listed
    following = (*train[place + 1 :], *train[:place])
    return next(clip for clip in following if window_of(clip) <= window_of(train[place]))


OPTIONS: dict[str, dict[str, Any]] = {
    "all weights": {},
    "cached encoder outputs": {"trainable": "Decoder"},
    "encoder outputs without a cache": {"trainable": "Decoder", "scratch_limit_bytes": 0},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("is_long", [False, True], ids=["short", "long"])
def test_the_next_clip_that_fits_stands_in_bit_for_bit(volume: Path, options: dict[str, Any], *, is_long: bool) -> None:
    run = Run(volume, **options)
    place = next(place for place, clip in enumerate(run.clips.train.listed) if (window_of(clip) == 10) == is_long)
    bad, other = run.clips.train.listed[place], next_that_fits(run, place)
    copied = Path(bad.audio.file).with_name("copied.wav")
    shutil.copy(other.audio.file, copied)
    # Its length stays: so does its place among the batches.
    train = list(run.clips.train.listed)
    train[place] = replace(bad, audio=WholeFile(str(copied)), text=other.text)
    expected = Run(volume, train, **options)
    damage(bad)
    assert run.train() == expected.train()
    assert all(torch.equal(run.weights()[name], weight) for name, weight in expected.weights().items())


def test_a_resumed_run_takes_the_same_stand_in(volume: Path, caplog: pytest.LogCaptureFixture) -> None:
    straight, stopped, resumed = (Run(volume, trainable="Decoder") for _ in range(3))
    damage(straight.clips.train.listed[4])
    with caplog.at_level(logging.WARNING):
        straight.train()
    assert caplog.text.count("the next clip of the list is trained on instead") == 1
    stopped.train(last_step=5)
    tensors, values = stopped.backend.state()
    resumed.loaded.network.load_state_dict(stopped.loaded.network.state_dict())
    resumed.backend.load_state({name: tensor.clone() for name, tensor in tensors.items()}, values)
    resumed.train(first_step=5)
    assert all(torch.equal(resumed.weights()[name], weight) for name, weight in straight.weights().items())


def test_too_many_that_cannot_be_decoded_end_the_run(volume: Path) -> None:
    run = Run(volume)
    for clip in run.clips.train.listed[:2]:
        damage(clip)
    with pytest.raises(TrainerError, match=r"2 of 18 clips cannot be used.*\(cannot be decoded 2\)") as refused:
        run.train()
    assert refused.value.reason == "DatasetInvalid"


def test_a_clip_that_is_gone_ends_the_run(volume: Path) -> None:
    run = Run(volume)
    Path(run.clips.train.listed[3].audio.file).unlink()
    with pytest.raises(TrainerError, match="is gone"):
        run.train()


def test_a_clip_that_no_other_is_as_short_as_ends_the_run(volume: Path) -> None:
    short = next(clip for clip in Run(volume).clips.train.listed if window_of(clip) == 5)
    long = [clip for clip in Run(volume).clips.train.listed if window_of(clip) == 10]
    damage(short)
    with pytest.raises(TrainerError, match="no clip that is as short can replace it"):
        ReplacementClips([*long, short], "0.9", window_of).take(short)
