"""Weights of before and after training are mixed, chosen on the validation clips, and measured on the held-out ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_whisper
import tones
from trainer_attempts import Volume
from trainer_configs import described_run, make_config, make_spec
from whisper_finetune_api.run import TrainingResult
from whisper_finetune_api.v1alpha1.scores import Metric, Mixing
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.model import model_card, model_folder
from whisper_finetune_trainer.progress.progress import Snapshot
from whisper_finetune_trainer.report import charts
from whisper_finetune_trainer.report.charts import MixtureScore
from whisper_finetune_trainer.training import mixing
from whisper_finetune_trainer.training.mixing import Weighing, WeightMixer

WEIGHTS = "model.safetensors"


class Network(torch.nn.Module):
    """Two tensors, one of them under two names, as Whisper's token embeddings are."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = torch.nn.Linear(5, 7, bias=False)
        self.second = torch.nn.Linear(5, 7, bias=False)
        self.tied = torch.nn.Linear(5, 7, bias=False)
        self.tied.weight = self.first.weight

    def write(self, folder: Path) -> Path:
        folder.mkdir()
        own = {name: weight.detach().clone() for name, weight in self.named_parameters()}
        save_file(own, str(folder / WEIGHTS))
        return folder


@pytest.mark.parametrize("factor", [0.0, 0.25, 0.5, 0.75, 1.0, 1.25])
def test_mixed_weights_are_on_the_way_and_exact_at_both_ends(tmp_path: Path, factor: float) -> None:
    before, after, mixed = Network(0), Network(1), Network(2)
    first, last = (dict(each.named_parameters()) for each in (before, after))
    model_folder.mix_weights(mixed, before.state_dict(), after.write(tmp_path / "after"), factor)
    for name, weight in mixed.named_parameters():
        expected = first[name] + factor * (last[name] - first[name])
        assert torch.allclose(weight, expected, atol=1e-6)
        if factor in {0.0, 1.0}:
            assert torch.equal(weight, (first if factor == 0.0 else last)[name])
    assert mixed.tied.weight is mixed.first.weight


def test_the_mean_is_that_of_all(tmp_path: Path) -> None:
    networks, mixed = [Network(seed) for seed in range(3)], Network(9)
    model_folder.average_weights(mixed, [each.write(tmp_path / str(seed)) for seed, each in enumerate(networks)])
    for name, weight in mixed.named_parameters():
        expected = sum(dict(each.named_parameters())[name] for each in networks) / 3
        assert torch.allclose(weight, torch.as_tensor(expected), atol=1e-6)


def test_the_report_has_the_curve_and_the_mean_beside_it() -> None:
    scores = [MixtureScore(0.0, 40.0, is_final=False), MixtureScore(0.5, 20.0, is_final=True)]
    chart = charts.mixing_curve([*scores, MixtureScore(None, 30.0, is_final=False)], "Word error rate", " %")
    assert (chart.x_label, [mark.style for mark in chart.marks]) == ("factor", ["measured", "final"])
    assert "0.5: 20.00 %" in chart.description
    assert "the mean of checkpoints: 30.00 %" in chart.description
    assert chart.level is not None
    assert chart.level.label == "mean 30.00"
    # The mean lies below the best point of the curve, whose axis begins at 0.
    assert chart.marks[0].y < chart.level.at < chart.marks[1].y
    assert charts.mixing_curve(scores, "chrF", "").level is None


def test_the_card_says_what_was_mixed() -> None:
    config = make_config(make_spec())
    metric = Metric(normalizer="basic")
    for mixed, words in (
        (Mixing(factor="0.75", score="20.00"), "the weights are 0.75 of the way from those before training (0)"),
        (Mixing(checkpoints=2, score="20.00"), "the weights are the mean of 2 checkpoints"),
    ):
        card = model_card.model_card(described_run(config), TrainingResult(metric=metric, mixing=mixed), 10, None)
        assert words in card


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume with a tiny model and 20 clips, and as many to choose by."""
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tones.write_clips(folder / "clips", 20)
    tones.write_clips(folder / "clips", 20, name="validation")
    return folder


@pytest.fixture
def volume(speech: Path, tmp_path: Path) -> Volume:
    return Volume(speech, tmp_path)


@pytest.fixture
def weighings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Evaluation, ...], Weighing]]:
    """Return what each weighing of the test began with and came to."""
    found: list[tuple[tuple[Evaluation, ...], Weighing]] = []
    weigh = WeightMixer.weigh

    def noted(self: WeightMixer, step: int, measured: Any) -> Weighing | None:
        weighing = weigh(self, step, measured)
        assert weighing is not None
        found.append((tuple(measured), weighing))
        return weighing

    monkeypatch.setattr(WeightMixer, "weigh", noted)
    return found


Weighings = list[tuple[tuple[Evaluation, ...], Weighing]]
EVERY = {"steps": 60, "evalEverySteps": 30, "mixing": True}


@pytest.mark.slow
def test_both_ends_hear_what_was_heard_before_and_after_training(
    volume: Volume, weighings: Weighings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixing, "FACTORS", (0.0, 1.0))
    ended = volume.attempt(volume.config(**EVERY))
    assert ended.exit_code == 0, ended.result.message
    (measured, weighing), *_ = weighings
    made = [each for each in weighing.mixtures if each.factor in {0.0, 1.0}]
    assert [each.factor for each in made] == [0.0, 0.0, 1.0, 1.0]
    assert made[0].evaluation.heard == made[1].evaluation.heard == measured[0].heard
    assert made[2].evaluation.heard == made[3].evaluation.heard
    assert made[2].evaluation in measured
    assert made[0].evaluation.heard != made[2].evaluation.heard


@pytest.mark.slow
@pytest.mark.parametrize("index", [None, 1, 3, -1], ids=["the best", "0.25", "0.75", "the mean"])
def test_a_mixture_is_published_measured_and_told(
    volume: Volume, weighings: Weighings, index: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if index is not None:
        monkeypatch.setattr(mixing, "best_mixture", lambda found: found[index])
    ended = volume.attempt(volume.config(**EVERY))
    result = ended.result
    assert ended.exit_code == 0, result.message
    (measured, weighing), *_ = weighings
    assert [each.factor for each in weighing.mixtures] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, None]
    assert result.mixing == weighing.chosen.to_report()
    assert result.validation is not None
    assert result.mixing is not None
    best = min(each.measurement.score for each in (*measured[1:], weighing.chosen.evaluation))
    assert result.validation.best == f"{best:.2f}"
    expected = expected_weights(volume, result)
    found = volume.weights()
    assert all(torch.equal(weight, expected[name]) for name, weight in found.items())
    assert "weights mixed from before (0) and after (1)" in (volume.run / "report.html").read_text()
    assert result.mixing.in_words() in (volume.run / "model/README.md").read_text()
    # The held-out figures are those of the weights that are published.
    assert result.model is not None
    heard = volume.json(f"evaluations/evaluation-{result.model.step}.json")
    assert result.result is not None
    assert heard["figures"]["score"] == result.result.score


@pytest.mark.slow
def test_only_a_gain_changes_the_weights(volume: Volume, weighings: Weighings) -> None:
    assert volume.attempt(volume.config(**EVERY)).exit_code == 0
    (_, weighing), *_ = weighings
    trained = next(each for each in weighing.mixtures if each.is_trained)
    better = [
        each for each in weighing.mixtures if each.evaluation.measurement.score < trained.evaluation.measurement.score
    ]
    assert weighing.chosen is trained or weighing.chosen in better
    assert mixing.best_mixture([trained, mixing.Mixture(trained.evaluation, 0.5)]) is trained


def expected_weights(volume: Volume, result: TrainingResult) -> dict[str, torch.Tensor]:
    """Return the weights that the status says the model has."""
    assert result.mixing is not None
    assert result.model is not None
    kept = [load_file(str(path)) for path in sorted(volume.run.glob(f"checkpoints/*/{WEIGHTS}"))]
    if result.mixing.factor is None:
        return {name: torch.stack([each[name] for each in kept]).mean(dim=0) for name in kept[0]}
    after = load_file(str(volume.run / f"checkpoints/checkpoint-{result.model.step}/{WEIGHTS}"))
    before = load_file(str(volume.speech / "model" / WEIGHTS))
    return {name: torch.lerp(before[name], weight, float(result.mixing.factor)) for name, weight in after.items()}


def stop_while_weighing() -> Callable[[Snapshot], None]:
    """Return a listener that sends SIGTERM once, when a mixture is being heard."""
    sent: list[int] = []

    def on_change(snapshot: Snapshot) -> None:
        progress = snapshot.report.progress
        weighs = progress and progress.percent == 100 and progress.evaluated_part == "Validation"
        if weighs and progress and progress.evaluated_clips and not sent:
            sent.append(progress.step)
            os.kill(os.getpid(), signal.SIGTERM)

    return on_change


@pytest.mark.slow
def test_a_weighing_that_was_stopped_begins_again_and_costs_no_step(volume: Volume, tmp_path: Path) -> None:
    config = volume.config(**EVERY)
    stopped = volume.attempt(config, stop_while_weighing())
    assert stopped.exit_code == 75, stopped.result.message
    steps: list[int] = []

    def note_step(snapshot: Snapshot) -> None:
        if snapshot.learning_rate is not None and snapshot.report.progress is not None:
            steps.append(snapshot.report.progress.step)

    resumed = volume.attempt(config, note_step)
    assert resumed.exit_code == 0, resumed.result.message
    assert steps == []
    other = tmp_path / "other"
    other.mkdir()
    whole = Volume(volume.speech, other)
    assert whole.attempt(whole.config(**EVERY)).exit_code == 0
    assert resumed.result.mixing == TrainingResult.model_validate(whole.json("result.json")).mixing
    assert all(torch.equal(weight, whole.weights()[name]) for name, weight in volume.weights().items())
