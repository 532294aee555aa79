"""A tiny model learns on emulated IPUs with Python 3.8: from the spec, by operator and pod, to an error rate of 0."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_whisper
import tones
from e2e import run_folders
from e2e.runs import Runs, uid_of
from repository import ROOT

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        not (ROOT / ".venv38" / "bin" / "python").exists(), reason="no .venv38: no Python 3.8 on this machine"
    ),
]

CLIPS = 80
SECONDS_TO_LEARN = 180
TRAINING = {"steps": 400, "batchSize": 4, "learningRate": "5e-4", "precision": "Float", "maxLabelTokens": 32}
SPEC: dict[str, Any] = {
    "model": "pvc://speech/models/four-layers",
    "dataset": {"source": "pvc://speech/eighty-tones"},
    "runtime": "ipu-emulated",
    "ipus": 4,
    "training": TRAINING,
}


@pytest.fixture(scope="module")
def executables(new_volume: Callable[..., Path]) -> Path:
    """The folder behind the runtime's executable cache, where the emulated IPUs in use are marked too."""
    return new_volume("executables")


@pytest.fixture(scope="module")
def runs(make_runs: Callable[..., Runs], volume: Path, executables: Path) -> Runs:
    tiny_whisper.build(volume / "models" / "four-layers", encoder_layers=2, decoder_layers=2, init_std=0.05)
    tones.write_clips(volume / "eighty-tones", CLIPS)
    return make_runs("ipus", executables=executables)


@pytest.fixture(scope="module")
def learned(runs: Runs) -> dict[str, Any]:
    runs.create("learner", SPEC)
    return runs.wait_for_state("learner", "Succeeded", SECONDS_TO_LEARN)


def test_the_word_error_rate_falls_to_zero(learned: dict[str, Any]) -> None:
    status = learned["status"]
    assert float(status["baseline"]["wer"]) >= 100
    assert status["result"]["wer"] == "0.00"
    assert status["data"] == {"trainClips": 64, "evalClips": 16, "droppedClips": 0, "split": "Fraction"}
    assert status["attempts"]["started"] == 1


def test_two_replicas_took_half_of_the_steps_each(learned: dict[str, Any]) -> None:
    assert learned["status"]["progress"]["totalSteps"] == TRAINING["steps"] // 2
    assert learned["status"]["ranOn"]["hardware"] == "4 IPUs, 2 replicas of 2"


def test_it_ran_on_a_partition_of_the_pool(learned: dict[str, Any]) -> None:
    assert learned["status"]["runtime"] == "ipu-emulated"
    assert learned["status"]["partition"] == "emulated-4"
    assert learned["status"]["ipus"] == 4


def test_it_cannot_pass_for_a_run_on_ipus(learned: dict[str, Any], volume: Path) -> None:
    software = learned["status"]["ranOn"]["software"]
    assert "poptorch 3.3.0 emulated" in software
    assert "optimum-graphcore 0.7.1" in software
    assert "Python 3.8" in software
    folder = run_folders.folder_of(volume, learned)
    run_folders.whole_model(folder, uid_of(learned))
    for told in ("model/README.md", "result.json", "report.html"):
        assert "emulated" in (folder / told).read_text(encoding="utf-8"), told


def test_a_second_run_of_the_same_shapes_compiles_nothing(
    runs: Runs, learned: dict[str, Any], executables: Path
) -> None:
    compiled = {path.name: path.stat().st_mtime_ns for path in executables.rglob("*.popef")}
    assert len(compiled) >= 3, "training, the encoder and the decoder"
    assert learned["status"]["state"] == "Succeeded"
    runs.create("again", {**SPEC, "training": {**TRAINING, "steps": 20}})
    runs.wait_for_state("again", "Succeeded")
    assert {path.name: path.stat().st_mtime_ns for path in executables.rglob("*.popef")} == compiled
