"""A run on emulated IPUs that was stopped and resumed ends with the same bits as one that was not."""

import os
import signal
from pathlib import Path
from typing import Any, Callable, Dict, List

import ipu_runs
import pytest
import torch
from ipu_runs import IpuVolume, Run
from safetensors.torch import load_file

from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.progress.progress import Snapshot

Weights = Dict[str, torch.Tensor]
#: 16 train clips, 4 of them in a step of one replica: an epoch has 4 steps, with two replicas 2.
CLIPS = 20
TOTAL_STEPS = 6


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Dropout draws from the random state, so a resumed run must find it as it was.
    return ipu_runs.write_speech(tmp_path_factory.mktemp("speech"), CLIPS, dropout=0.2)


def training(replicas: int) -> Dict[str, Any]:
    every = replicas * TOTAL_STEPS // 2
    return {
        "ipus": replicas * ipu_runs.IPUS,
        "steps": replicas * TOTAL_STEPS,
        "evalEverySteps": every,
        "output": {"keepCheckpoints": 5},
    }


@pytest.fixture(scope="module", params=[1, 2], ids=["1 replica", "2 replicas"])
def replicas(request: Any) -> int:
    number: int = request.param
    return number


@pytest.fixture(scope="module")
def straight(speech: Path, replicas: int, tmp_path_factory: pytest.TempPathFactory) -> IpuVolume:
    volume = IpuVolume(speech, tmp_path_factory.mktemp("straight"))
    ended = volume.attempt(volume.config(**training(replicas)))
    assert ended.exit_code == 0, ended.result.message
    return volume


def stop_at(step: int) -> Callable[[Snapshot], None]:
    """Return a listener that sends SIGTERM once, when a step is done."""
    told: List[int] = []

    def listen(now: Snapshot) -> None:
        progress = now.report.progress
        if progress and progress.step == step and progress.loss and not told:
            told.append(step)
            os.kill(os.getpid(), signal.SIGTERM)

    return listen


def crash_before_the_first_step(now: Snapshot) -> None:
    if now.report.stage == "Training":
        raise RuntimeError("something broke")


@pytest.mark.parametrize("step", [1, 3, 5], ids=["early", "before an evaluation", "after it and in a later epoch"])
def test_a_resumed_run_ends_with_the_same_bits(
    speech: Path, replicas: int, straight: IpuVolume, step: int, tmp_path: Path
) -> None:
    volume = IpuVolume(speech, tmp_path)
    config = volume.config(**training(replicas))
    stopped = volume.attempt(config, stop_at(step))
    assert stopped.exit_code == 75, stopped.result.message
    assert volume.names("resume")[-1] == f"checkpoint-{step}"
    require_same_end(volume, config, straight)


def test_weights_that_are_rounded_by_chance_are_the_same_after_a_resume(tmp_path: Path) -> None:
    """In Half every step rounds by the IPUs' own random state, with or without dropout."""
    speech = ipu_runs.write_speech(tmp_path / "speech", CLIPS)
    volumes = [IpuVolume(speech, tmp_path / name) for name in ("straight", "stopped")]
    for volume in volumes:
        volume.folder.mkdir()
    straight, volume = volumes
    config = volume.config(**{**training(1), "precision": "Half"})
    assert straight.attempt(straight.config(**{**training(1), "precision": "Half"})).exit_code == 0
    assert volume.attempt(config, stop_at(3)).exit_code == 75
    require_same_end(volume, config, straight)


def test_an_attempt_that_only_measured_the_baseline_changes_nothing(
    speech: Path, replicas: int, straight: IpuVolume, tmp_path: Path
) -> None:
    volume = IpuVolume(speech, tmp_path)
    config = volume.config(**training(replicas))
    assert volume.attempt(config, crash_before_the_first_step).exit_code == 1
    assert volume.names() == ["baseline.json", "validation"]
    require_same_end(volume, config, straight)


def require_same_end(volume: IpuVolume, config: TrainerConfig, straight: IpuVolume) -> None:
    """Make the second attempt and compare; the baseline was measured in the first one alone."""
    measured: List[int] = []
    ended = volume.attempt(config, lambda now: measured.append(now.clips_to_evaluate * (not now.report.baseline)))
    assert ended.exit_code == 0, ended.result.message
    assert not any(measured)
    for place in ("checkpoints/checkpoint-3", "checkpoints/checkpoint-6", "model"):
        assert differing(straight, volume, place) == []
    assert volume.names("validation") == [f"evaluation-{step}.json" for step in (0, 3, 6)]
    assert volume.names("evaluations") == straight.names("evaluations")
    for place in ("validation/evaluation-6.json", f"evaluations/{volume.names('evaluations')[0]}"):
        heard = [run.json(place)["hypotheses"] for run in (straight, volume)]
        assert heard[0] == heard[1]


def differing(one: IpuVolume, other: IpuVolume, place: str) -> List[str]:
    """Return the names of the weights that are not the same in both."""
    weights: List[Weights] = [load_file(str(volume.run / place / "model.safetensors")) for volume in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    return [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])]


def test_a_kept_model_is_heard_with_after_the_training(speech: Path, tmp_path: Path) -> None:
    run = Run(IpuVolume(speech, tmp_path).config(steps=4, learningRate="0.05", warmupFraction="0.0"))
    backend, clips, network = run.backend, run.clips.evaluation, run.loaded.network
    kept = {name: weight.clone() for name, weight in network.state_dict().items()}
    before = backend.transcribe(clips, lambda _: None)
    backend.train(0, lambda _: True)
    backend.gather_weights()
    assert backend.transcribe(clips, lambda _: None) != before
    network.load_state_dict(kept)
    backend.take_weights()
    assert backend.transcribe(clips, lambda _: None) == before


def test_the_checkpoints_of_a_run_differ(straight: IpuVolume) -> None:
    early = load_file(str(straight.run / "checkpoints/checkpoint-3/model.safetensors"))
    late = load_file(str(straight.run / "checkpoints/checkpoint-6/model.safetensors"))
    assert all(not torch.equal(early[name], late[name]) for name in early)


def test_nothing_pickled_is_in_the_runs_folder(speech: Path, tmp_path: Path) -> None:
    volume = IpuVolume(speech, tmp_path)
    assert volume.attempt(volume.config(**training(1)), stop_at(2)).exit_code == 75
    files = sorted(path.name for path in volume.run.rglob("*") if path.is_file())
    assert files == ["baseline.json", "evaluation-0.json", "manifest.json", "state-00000.safetensors", "state.json"]


def test_the_last_evaluation_can_be_made_by_an_attempt_that_takes_no_step(
    speech: Path, straight: IpuVolume, replicas: int, tmp_path: Path
) -> None:
    volume = IpuVolume(speech, tmp_path)
    config = volume.config(**training(replicas))

    def stop_in_last_evaluation(now: Snapshot) -> None:
        progress = now.report.progress
        if now.report.stage == "Evaluating" and progress and progress.step == TOTAL_STEPS:
            os.kill(os.getpid(), signal.SIGTERM)

    assert volume.attempt(config, stop_in_last_evaluation).exit_code == 75
    assert volume.names("resume")[-1] == f"checkpoint-{TOTAL_STEPS}"
    ended = volume.attempt(config)
    assert ended.exit_code == 0, ended.result.message
    assert differing(straight, volume, "model") == []
    assert volume.names("resume") == []


def test_a_frozen_encoder_is_the_same_bit_for_bit(speech: Path, tmp_path: Path) -> None:
    volume = IpuVolume(speech, tmp_path)
    ended = volume.attempt(volume.config(steps=4, trainable="Decoder", evalEverySteps=2))
    assert ended.exit_code == 0, ended.result.message
    before = load_file(str(speech / "model/model.safetensors"))
    after = volume.weights()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {name for name in after if name.startswith("model.decoder.")}
    assert any(name.startswith("model.encoder.") for name in after)
