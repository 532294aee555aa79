"""Whole attempts at runs whose output is a repository of the Hub, in a process of their own as in a pod."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hub_repository_double
import tiny_whisper
import tones
from hub_repository_double import Hub
from repository import ROOT
from trainer_attempts import Volume
from trainer_configs import UID
from whisper_finetune_api.run import CONFIG_ENV, TrainingResult
from whisper_finetune_trainer.output import folder_manifest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tones.write_clips(folder / "clips", 12)
    tones.write_clips(folder / "clips", 20, name="validation")
    return folder


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_repository_double.serving() as made:
        yield made


class Runs:
    """Attempts, each in a pod of its own: nothing of the scratch space is left to the next one."""

    def __init__(self, speech: Path, folder: Path, hub: Hub) -> None:
        self._volume = Volume(speech, folder)
        self._folder = folder
        self._hub = hub
        self._attempts = 0

    def attempt(
        self, uri: str = "hf://team/whisper-it", token: str = hub_repository_double.TOKEN, **output: Any
    ) -> tuple[int, TrainingResult]:
        self._attempts += 1
        pod = self._folder / f"pod-{self._attempts}"
        pod.mkdir()
        config = self._volume.config(output={"uri": uri, **output}, steps=6, evalEverySteps=3)
        config = config.model_copy(update={"scratch_folder": str(pod)})
        environment = {
            **os.environ,
            CONFIG_ENV: config.model_dump_json(by_alias=True, exclude_none=True),
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("crds", "trainer")),
            "OMP_NUM_THREADS": "1",
            "HF_ENDPOINT": self._hub.endpoint,
            "HF_TOKEN": token,
            "HF_HOME": str(pod / "huggingface"),
            "HF_HUB_DISABLE_XET": "1",
        }
        message = pod / "termination.log"
        command = [sys.executable, "-m", "whisper_finetune_trainer", "--termination-log", str(message)]
        ran = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        sys.stderr.write(ran.stderr)
        return ran.returncode, TrainingResult.model_validate_json(message.read_bytes())


@pytest.fixture
def runs(speech: Path, tmp_path: Path, hub: Hub) -> Runs:
    return Runs(speech, tmp_path, hub)


def test_a_run_ends_in_one_commit_with_the_model_at_the_root(runs: Runs, hub: Hub) -> None:
    hub.failures = 1
    exit_code, result = runs.attempt()
    assert exit_code == 0, result.message
    assert result.model is not None
    assert result.checkpoints == ()
    assert (hub.is_private, len(hub.commits)) == (True, 1)
    assert [branch.split(" ")[0] for branch in hub.branches] == ["POST", "DELETE"]
    manifest = json.loads(hub.files["manifest.json"])
    assert result.model.sha256 == folder_manifest.sha256(hub.files["manifest.json"])
    assert set(hub.files) == {*manifest["files"], "manifest.json", "result.json"}
    # Nothing of the clips: neither their sounds nor what is said in them.
    assert result.report is None
    assert not [name for name, content in hub.files.items() if b"clip-" in content or b"audio/" in content]
    assert manifest["uid"] == UID
    assert hub.files["README.md"].startswith(b"---\n")

    assert runs.attempt() == (exit_code, result)
    assert len(hub.commits) == 1


def test_recordings_and_transcripts_are_published_where_that_is_asked_for(runs: Runs, hub: Hub) -> None:
    exit_code, result = runs.attempt(publish="WithReport")
    assert exit_code == 0, result.message
    manifest = json.loads(hub.files["manifest.json"])
    assert set(hub.files) == {
        *manifest["files"], "manifest.json", "result.json", "report.html", "evaluation.jsonl",
        "tensorboard/events.out.tfevents.run",
    }  # fmt: skip
    assert result.report == "report.html"


def test_an_export_is_a_commit_of_its_own_after_the_models(runs: Runs, hub: Hub) -> None:
    exit_code, result = runs.attempt(exports=["CTranslate2"], exportClips=1)
    assert exit_code == 0, result.message
    # This pod's operator is of before exports, and is not told of them.
    (export,) = TrainingResult.model_validate_json(hub.files["result.json"]).exports or ()
    assert (export.path, export.refused) == ("exports/ctranslate2", None)
    assert len(hub.commits) == 2
    manifest = hub.files["exports/ctranslate2/manifest.json"]
    assert export.sha256 == folder_manifest.sha256(manifest)
    files = {f"exports/ctranslate2/{name}" for name in json.loads(manifest)["files"]}
    assert {"exports/ctranslate2/model.bin", "exports/ctranslate2/tokenizer.json"} <= files <= set(hub.files)
    # Model and export are found again, and neither is made anew.
    assert runs.attempt(exports=["CTranslate2"], exportClips=1) == (exit_code, result)
    assert len(hub.commits) == 2


def test_what_cannot_be_written_is_found_before_the_training(runs: Runs) -> None:
    exit_code, result = runs.attempt(token="hf_of_nobody")  # noqa: S106 -- of the double
    assert (exit_code, result.reason) == (77, "AccessDenied")
    assert "HF_TOKEN" in result.message
    exit_code, result = runs.attempt(uri="hf://others/whisper-it")
    assert (exit_code, result.reason) == (73, "OutputNotWritable")
    assert "hf://others/whisper-it" in result.message
