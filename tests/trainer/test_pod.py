"""The trainer as a pod runs it: killed, stopped, asked for its progress, and started again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny_whisper
from repository import ROOT
from trainer_configs import FOLDER, UID, make_config, make_spec
from whisper_finetune_api.run import CONFIG_ENV, TrainerReport, TrainingResult

_DEADLINE_SECONDS = 240


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume with a tiny model and 20 clips."""
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tiny_whisper.write_clips(folder / "clips", 20)
    return folder


class Pod:
    """A trainer's process with its volume, its log and its termination message."""

    def __init__(self, speech: Path, folder: Path, steps: int) -> None:
        self.folder = folder
        self.run = folder / "it" / FOLDER
        self.log = folder / "log"
        self.message_file = folder / "termination-log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        training = {"steps": steps, "batchSize": 4, "precision": "Float", "resumeEverySeconds": 1, "maxLabelTokens": 32}
        spec = make_spec(training=training, output={"uri": "pvc://runs/it"})
        self.config = make_config(spec, speech, runs=folder, scratch=folder / "scratch", port=self.port)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start another attempt; log and message begin anew."""
        environment = {
            # A pod has no caches of a developer's.
            **{name: value for name, value in os.environ.items() if name not in {"HF_HOME", "XDG_CACHE_HOME"}},
            CONFIG_ENV: self.config.model_dump_json(by_alias=True),
            "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("crds", "trainer")),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "whisper_finetune_trainer", "--termination-log", str(self.message_file)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> int:
        """Send a signal and return how the process ended."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=_DEADLINE_SECONDS)

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until a condition gives something true, and return that; the process must be alive until then."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text(encoding="utf-8"))

    def logged(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self.log.read_text(encoding="utf-8"))

    def report(self) -> TrainerReport | None:
        """Return the answer to GET /progress, None where nobody answers yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/progress", timeout=5) as answer:
                return TrainerReport.model_validate_json(answer.read())
        except OSError:
            return None

    def states(self) -> list[int]:
        return [int(path.parent.name.split("-")[1]) for path in self.run.glob("resume/*/manifest.json")]

    def message(self) -> TrainingResult:
        content = self.message_file.read_bytes()
        assert len(content) <= 4096
        return TrainingResult.model_validate_json(content)


@pytest.fixture
def pod(speech: Path, tmp_path: Path) -> Iterator[Pod]:
    """Return a pod that is not started yet; what is left of it ends with the test."""
    made = Pod(speech, tmp_path, steps=1000)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


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


def test_a_trainer_that_is_stopped_while_it_loads_ends_at_once(pod: Pod) -> None:
    pod.start()
    pod.until(lambda: pod.logged("run speech/demo"))
    assert pod.send(signal.SIGTERM) == 75
    assert pod.message().message == "stopped by SIGTERM before the first checkpoint"
    assert not (pod.run / "baseline.json").exists()
    # Its root file system may be read-only: whatever else it writes goes to the scratch folder.
    assert {path.name for path in pod.folder.iterdir()} <= {"it", "scratch", "log", "termination-log"}
    assert (pod.folder / "scratch/huggingface").is_dir()
