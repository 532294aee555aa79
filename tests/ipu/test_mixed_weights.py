"""Weights are mixed on emulated IPUs as elsewhere: both ends hear the same, and what is heard is published."""

from pathlib import Path
from typing import Any, List

import ipu_runs
import pytest
import torch
from ipu_runs import IpuVolume
from safetensors.torch import load_file

from whisper_finetune_trainer.training import mixing
from whisper_finetune_trainer.training.mixing import WeightMixer

WEIGHTS = "model.safetensors"


def test_mixed_weights_are_heard_and_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weighings: List[Any] = []
    weigh = WeightMixer.weigh

    def noted(self: WeightMixer, step: int, measured: Any) -> Any:
        weighings.append((measured, weigh(self, step, measured)))
        return weighings[-1][1]

    monkeypatch.setattr(WeightMixer, "weigh", noted)
    monkeypatch.setattr(mixing, "FACTORS", (0.0, 0.5, 1.0))
    monkeypatch.setattr(mixing, "best_mixture", lambda found: found[2])
    speech = ipu_runs.write_speech(tmp_path / "speech")
    volume = IpuVolume(speech, tmp_path)
    ended = volume.attempt(
        volume.config(steps=4, evalEverySteps=4, mixing=True, learningRate="0.05", warmupFraction="0.0")
    )
    assert ended.exit_code == 0, ended.result.message
    ((measured, weighing),) = weighings
    before, first, _, *ends = [each.evaluation.heard for each in weighing.mixtures]
    assert before == first == measured[0].heard
    assert ends[0] == ends[1] == measured[1].heard
    assert before != ends[0]
    assert ended.result.mixing is not None
    assert ended.result.mixing.factor == "0.50"
    folders = (speech / "model", volume.run / "checkpoints/checkpoint-4", volume.run / "model")
    base, tuned, published = (load_file(str(folder / WEIGHTS)) for folder in folders)
    for name, weight in published.items():
        assert torch.equal(weight, torch.lerp(base[name], tuned[name], 0.5))
