"""The trainer as a pod runs it: killed, stopped, asked for its progress, and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny_whisper
import tones
from repository import ROOT
from trainer_configs import UID
from trainer_pod import Pod


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume with a tiny model and 20 clips."""
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tones.write_clips(folder / "clips", 20)
    return folder


@pytest.fixture
def pod(speech: Path, tmp_path: Path) -> Iterator[Pod]:
    """Return a pod that is not started yet; what is left of it ends with the test."""
    made = Pod(speech, tmp_path, steps=1000)
    yield made
    made.kill()


@pytest.mark.slow
def test_a_killed_trainer_goes_on_where_it_was_and_a_stopped_one_says_what_it_saved(pod: Pod) -> None:
    pod.start()
    pod.until(pod.states)
    assert pod.send(signal.SIGKILL) == -signal.SIGKILL
    saved = max(pod.states())
    # As if it had been killed in the middle of a write, too.
    half = pod.run / f"resume/checkpoint-{saved + 1}"
    half.mkdir()
    (half / "state.json").write_text("{", encoding="utf-8")

    pod.start()
    report = pod.until(lambda: (found := pod.report()) and found.progress and found.progress.loss and found)
    assert pod.logged(f"resumed from resume/checkpoint-{saved}")
    assert not pod.logged("step 0: WER")
    assert report.uid == UID
    assert report.stage == "Training"
    assert report.progress.step > saved
    assert report.baseline is not None

    assert pod.send(signal.SIGTERM) == 75
    message = pod.message()
    assert message.message == f"stopped by SIGTERM; the next attempt goes on from resume/checkpoint-{max(pod.states())}"
    assert message.progress is not None
    assert message.progress.step == max(pod.states())
    assert message.baseline == report.baseline
    assert message.uid is None


@pytest.mark.slow
def test_a_trainer_that_is_stopped_while_it_loads_ends_at_once(pod: Pod) -> None:
    pod.start()
    pod.until(lambda: pod.logged("run speech/demo"))
    assert pod.send(signal.SIGTERM) == 75
    assert pod.message().message == "stopped by SIGTERM before the first checkpoint"
    assert not (pod.run / "baseline.json").exists()
    # Its root file system may be read-only: whatever else it writes goes to the scratch folder.
    assert {path.name for path in pod.folder.iterdir()} <= {"it", "scratch", "log", "termination-log"}
    assert (pod.folder / "scratch/huggingface").is_dir()


#: Imported in the place of a library, while the trainer starts: a stop comes just then.
_STOPPED_AT_START = """
import os, signal, sys
os.kill(os.getpid(), signal.SIGTERM)
sys.path.remove(os.path.dirname(os.path.dirname(__file__)))
del sys.modules["yaml"]
import yaml
"""


@pytest.mark.slow
def test_a_stop_while_the_trainer_starts_is_not_lost(pod: Pod, tmp_path: Path) -> None:
    package = tmp_path / "stand-ins/yaml"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_STOPPED_AT_START, encoding="utf-8")
    folders = [package.parent, ROOT / "crds", ROOT / "trainer"]
    # With a secret the process begins twice.
    pod.environment = {"PYTHONPATH": os.pathsep.join(map(str, folders)), "HF_TOKEN": "hf_TOPSECRET"}
    pod.start()
    assert pod.process is not None
    assert pod.process.wait(timeout=60) == 75
    assert pod.message().message == "stopped by SIGTERM before the first checkpoint"
