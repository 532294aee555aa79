"""Further data sets that a run is measured on: read, refused, heard before and after, and told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import tiny_whisper
import tones
from tones import TEXTS
from trainer_attempts import Volume
from whisper_finetune_api.run import TrainingResult
from whisper_finetune_trainer.entrypoints.ending import Ending

pytestmark = pytest.mark.slow
#: Each tone has another text than in train, so whoever learns those of train gets worse here.
OTHERS = (*TEXTS[1:], TEXTS[0])


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tones.write_clips(folder / "clips", 20)
    tones.write_clips(folder / "clips", 20, name="validation")
    tones.write_clips(folder / "radio", 24, seconds=0.9, name="test")
    tones.write_clips(folder / "other", 24, seconds=0.9, name="test", texts=OTHERS)
    tones.write_clips(folder / "few", 19, seconds=0.9, name="test")
    tones.write_clips(folder / "empty", 0, name="test")
    tones.write_clips(folder / "greek", 24, seconds=0.9, name="test", texts=("μία λέξη",))
    (folder / "named").mkdir()
    shutil.copytree(folder / "radio/audio", folder / "named/audio")
    rows = [json.loads(line) for line in (folder / "radio/test.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps({**row, "language": "es"}) + "\n" for row in rows]
    (folder / "named/test.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def volume(speech: Path, tmp_path: Path) -> Volume:
    return Volume(speech, tmp_path)


def evaluations(*named: dict[str, Any]) -> dict[str, Any]:
    return {"evaluations": [{"source": f"pvc://speech/{each['name']}", **each} for each in named]}


def run(volume: Volume, *named: dict[str, Any], steps: int = 60, **training: Any) -> Ending:
    return volume.attempt(volume.config(steps=steps, spec=evaluations(*named), **training))


def scores(result: TrainingResult) -> dict[str, dict[str, Any]]:
    return {each.name: each.to_json_object() for each in result.evaluations}


def test_each_is_measured_before_and_after_and_a_model_that_is_better_here_and_worse_there_is_mixed(
    volume: Volume,
) -> None:
    ended = run(volume, {"name": "radio"}, {"name": "other", "maxClips": 22}, steps=150)
    result = ended.result
    assert ended.exit_code == 0, result.message
    found = scores(result)
    assert list(found) == ["radio", "other"]
    assert (found["radio"]["clips"], found["other"]["clips"]) == (24, 22)
    assert found["radio"]["verdict"] == "Better"
    assert float(found["radio"]["result"]) < float(found["radio"]["baseline"])
    assert float(found["radio"]["differenceHigh"]) < 0
    assert "metric" not in found["radio"]
    assert "language" not in found["radio"]
    assert volume.names("further-evaluations/radio") == ["evaluation-0.json", "evaluation-150.json"]
    assert volume.json("result.json")["evaluations"] == list(found.values())
