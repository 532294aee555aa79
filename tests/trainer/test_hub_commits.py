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
#: Each attempt has a process of its own, which begins with all libraries imported: that takes longer than the attempt.
#: They read the Hub's address then, and only then.
ATTEMPTS = """
import json, os, sys
from pathlib import Path
from huggingface_hub import constants
from trainer_attempts import Volume, stop_at

def attempt(asked):
    constants.HF_HUB_CACHE = str(Path(asked["folder"]) / "cache")
    volume = Volume(Path(asked["folder"]), Path(asked["folder"]))
    config = volume.config(spec={"model": "team/whisper", "dataset": {"source": asked["source"]}}, steps=4)
    ended = volume.attempt(config, stop_at(asked["stop_at"]))
    return [ended.exit_code, ended.result.to_json_object()]

for line in sys.stdin:
    if os.fork() == 0:
        print("ended", json.dumps(attempt(json.loads(line))), flush=True)
        os._exit(0)
    _, status = os.wait()
    if status:
        sys.exit(1)
"""


class Attempts:
    """Makes attempts at runs one after the other, on the Hub of an address."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self._log = folder / "attempts.log"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("crds", "trainer", "tests", "tests/trainer")),
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "huggingface"),
            "HF_HUB_DISABLE_XET": "1",
            "OMP_NUM_THREADS": "1",
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ATTEMPTS],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True,
            )  # fmt: skip

    def __call__(self, folder: Path, source: str = CLIPS, stop_at: int = -1) -> tuple[int, dict[str, Any]]:
        """Make one, and return its exit code and its result."""
        folder.mkdir(exist_ok=True)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"folder": str(folder), "source": source, "stop_at": stop_at}) + "\n")
        self.process.stdin.flush()
        said = next((line for line in self.process.stdout if line.startswith("ended ")), None)
        assert said, self._log.read_text(encoding="utf-8")[-4000:]
        exit_code, result = json.loads(said.removeprefix("ended "))
        return exit_code, result


@pytest.fixture(scope="module")
def hub() -> dict[str, Repository]:
    """Return the repositories of the Hub; each test has its own."""
    return {}


@pytest.fixture(scope="module")
def attempt(hub: dict[str, Repository], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempts]:
    with hub_dataset_double.serving(hub) as endpoint:
        attempts = Attempts(endpoint, tmp_path_factory.mktemp("attempts"))
        yield attempts
        attempts.process.kill()
        attempts.process.communicate()


@pytest.fixture
def repositories(hub: dict[str, Repository], tmp_path: Path) -> dict[str, Repository]:
    tiny_whisper.build(tmp_path / "hub/model")
    data_layouts.parquet_of_the_hub(tmp_path / "hub/clips")
    hub[MODEL] = Repository({"main": tmp_path / "hub/model"})
    hub[CLIPS] = Repository({"main": tmp_path / "hub/clips"})
    return hub


def push_others(repositories: dict[str, Repository], folder: Path) -> None:
    tiny_whisper.build(folder / "model", decoder_layers=1)
    data_layouts.audiofolder_csv(folder / "clips")
    hub_dataset_double.push(repositories[MODEL], "main", folder / "model")
    hub_dataset_double.push(repositories[CLIPS], "main", folder / "clips")


def weights(folder: Path) -> Any:
    return load_file(str(folder / "it" / FOLDER / "model/model.safetensors"))


@pytest.mark.parametrize("source", [CLIPS, f"hf://{CLIPS}"])
def test_what_is_pushed_meanwhile_changes_nothing(
    source: str, attempt: Attempts, repositories: dict[str, Repository], tmp_path: Path
) -> None:
    assert attempt(tmp_path / "whole", source)[0] == 0
    exit_code, _ = attempt(tmp_path / "stopped", source, stop_at=2)
    assert exit_code == 75
    push_others(repositories, tmp_path / "pushed")
    exit_code, result = attempt(tmp_path / "stopped", source)
    assert (exit_code, result["progress"]["step"]) == (0, 4)
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(found[name].equal(expected[name]) for name in expected)
    card = (tmp_path / "stopped/it" / FOLDER / "model/README.md").read_text(encoding="utf-8")
    commits = [hub_dataset_double.commit_of(tmp_path / "hub" / name) for name in ("model", "clips")]
    assert f"commits of the Hub: model {commits[0]}, dataset {commits[1]}" in card


def test_a_commit_that_is_gone_is_named(attempt: Attempts, repositories: dict[str, Repository], tmp_path: Path) -> None:
    assert attempt(tmp_path / "run", stop_at=2)[0] == 75
    push_others(repositories, tmp_path / "pushed")
    repositories[CLIPS].history.clear()
    exit_code, result = attempt(tmp_path / "run")
    assert (exit_code, result["reason"]) == (66, "DatasetNotFound")
    gone = hub_dataset_double.commit_of(tmp_path / "hub/clips")
    assert (
        f"team/speech has no commit {gone} any more, and a run reads the commit that it began with" in result["message"]
    )
