"""A run reads the commits of the Hub that its first attempt found, whatever is pushed meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import data_layouts
import hub_dataset_double
import tiny_whisper
from hub_dataset_double import Repository
from repository import ROOT
from trainer_configs import FOLDER

pytestmark = pytest.mark.slow
MODEL, CLIPS = "team/whisper", "team/speech"
#: One attempt in a process of its own: the library reads its endpoint once, when it is imported.
ATTEMPT = """
import json, sys
from pathlib import Path
from trainer_attempts import Volume, stop_at
asked = json.load(sys.stdin)
volume = Volume(Path(asked["folder"]), Path(asked["folder"]))
config = volume.config(spec={"model": "team/whisper", "dataset": {"source": asked["source"]}}, steps=4)
ended = volume.attempt(config, stop_at(asked["stop_at"]))
print(json.dumps([ended.exit_code, ended.result.to_json_object()]))
"""


@pytest.fixture
def repositories(tmp_path: Path) -> dict[str, Repository]:
    tiny_whisper.build(tmp_path / "hub/model")
    data_layouts.parquet_of_the_hub(tmp_path / "hub/clips")
    return {MODEL: Repository({"main": tmp_path / "hub/model"}), CLIPS: Repository({"main": tmp_path / "hub/clips"})}


@pytest.fixture
def endpoint(repositories: dict[str, Repository]) -> Iterator[str]:
    with hub_dataset_double.serving(repositories) as served:
        yield served


def push_others(repositories: dict[str, Repository], folder: Path) -> None:
    tiny_whisper.build(folder / "model", decoder_layers=1)
    data_layouts.audiofolder_csv(folder / "clips")
    hub_dataset_double.push(repositories[MODEL], "main", folder / "model")
    hub_dataset_double.push(repositories[CLIPS], "main", folder / "clips")


def attempt(endpoint: str, folder: Path, source: str = CLIPS, stop_at: int = -1) -> tuple[int, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("crds", "trainer", "tests", "tests/trainer")),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.run(
        [sys.executable, "-c", ATTEMPT],
        input=json.dumps({"folder": str(folder), "source": source, "stop_at": stop_at}),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-4000:]
    exit_code, result = json.loads(process.stdout.splitlines()[-1])
    return exit_code, result


def weights(folder: Path) -> Any:
    return load_file(str(folder / "it" / FOLDER / "model/model.safetensors"))


@pytest.mark.parametrize("source", [CLIPS, f"hf://{CLIPS}"])
def test_what_is_pushed_meanwhile_changes_nothing(
    source: str, endpoint: str, repositories: dict[str, Repository], tmp_path: Path
) -> None:
    assert attempt(endpoint, tmp_path / "whole", source)[0] == 0
    exit_code, _ = attempt(endpoint, tmp_path / "stopped", source, stop_at=2)
    assert exit_code == 75
    push_others(repositories, tmp_path / "pushed")
    exit_code, result = attempt(endpoint, tmp_path / "stopped", source)
    assert (exit_code, result["progress"]["step"]) == (0, 4)
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(found[name].equal(expected[name]) for name in expected)
    card = (tmp_path / "stopped/it" / FOLDER / "model/README.md").read_text(encoding="utf-8")
    commits = [hub_dataset_double.commit_of(tmp_path / "hub" / name) for name in ("model", "clips")]
    assert f"commits of the Hub: model {commits[0]}, dataset {commits[1]}" in card


def test_a_commit_that_is_gone_is_named(endpoint: str, repositories: dict[str, Repository], tmp_path: Path) -> None:
    assert attempt(endpoint, tmp_path / "run", stop_at=2)[0] == 75
    push_others(repositories, tmp_path / "pushed")
    repositories[CLIPS].history.clear()
    exit_code, result = attempt(endpoint, tmp_path / "run")
    assert (exit_code, result["reason"]) == (66, "DatasetNotFound")
    gone = hub_dataset_double.commit_of(tmp_path / "hub/clips")
    assert (
        f"team/speech has no commit {gone} any more, and a run reads the commit that it began with" in result["message"]
    )
