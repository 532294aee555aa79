"""What an attempt does about damaged states and models, and about data that has changed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

import tiny_whisper
import tones
from trainer_attempts import Volume, stop_at
from whisper_finetune_trainer.report import report_files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume with a tiny model and 20 clips."""
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tones.write_clips(folder / "clips", 20)
    tones.write_clips(folder / "clips", 20, name="validation")
    return folder


@pytest.fixture
def volume(speech: Path, tmp_path: Path) -> Volume:
    return Volume(speech, tmp_path)


def damage(path: Path) -> None:
    """Change the last byte: the size stays."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_damaged_states_do_not_push_the_new_ones_out(volume: Volume) -> None:
    config = volume.config(steps=12)
    for step in (6, 8):
        assert volume.attempt(config, stop_at(step)).exit_code == 75
    for name in volume.names("resume"):
        damage(volume.run / "resume" / name / "state-00000.safetensors")
    stopped = volume.attempt(config, stop_at(3))
    assert stopped.result.message == "stopped by SIGTERM; the next attempt goes on from resume/checkpoint-3"
    assert volume.names("resume") == ["checkpoint-3"]
    assert volume.attempt(config).exit_code == 0


def test_a_changed_data_set_begins_anew(volume: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = volume.config(steps=6, saveEverySteps=3)
    assert volume.attempt(config, stop_at(4)).exit_code == 75
    other = tmp_path / "other"
    tiny_whisper.build(other / "model")
    tones.write_clips(other / "clips", 25)
    changed = config.model_copy(update={"volumes": {**config.volumes, "speech": str(other)}})
    straight = Volume(other, tmp_path / "straight")
    straight.folder.mkdir()
    assert straight.attempt(straight.config(steps=6, saveEverySteps=3)).exit_code == 0
    assert volume.attempt(changed).exit_code == 0
    assert "training begins anew at step 0" in caplog.text
    # No clip that is held out now has been trained on.
    assert all(torch.equal(volume.weights()[name], tensor) for name, tensor in straight.weights().items())
    kept = "checkpoints/checkpoint-3/model.safetensors"
    assert (volume.run / kept).read_bytes() == (straight.run / kept).read_bytes()


def test_a_damaged_checkpoint_does_not_become_the_model(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    # A learning rate this small changes no text: the first evaluation is the best.
    config = volume.config(steps=4, evalEverySteps=2, learningRate="1e-9")
    assert volume.attempt(config, stop_at(3)).exit_code == 75
    damage(volume.run / "checkpoints/checkpoint-2/model.safetensors")
    ended = volume.attempt(config)
    assert ended.exit_code == 0
    assert ended.result.model is not None
    assert ended.result.model.step == 4
    assert "checkpoints/checkpoint-2/model.safetensors is damaged" in caplog.text


def test_a_report_that_cannot_be_made_costs_no_model(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object) -> str:
        raise ZeroDivisionError("no such thing")

    monkeypatch.setattr(report_files, "render_page", break_down)
    with caplog.at_level(logging.ERROR):
        ended = volume.attempt(volume.config(steps=2))
    assert ended.exit_code == 0
    assert ended.result.model is not None
    assert ended.result.report is None
    assert "the report cannot be written" in caplog.text
