"""What trackers are told of a run: a real MLflow server, W&B's offline files, and a tracker that is down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import locked_environment
from object_store.server_process import free_port
from repository import ROOT
from tracked_runs import config, result, snapshot
from trainer_configs import UID
from whisper_finetune_trainer.messages import redaction
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.tracking import tracked_values, tracking
from whisper_finetune_trainer.tracking.tracked_values import Point
from whisper_finetune_trainer.tracking.tracking import Tracking

START_SECONDS = 120


def test_the_fields_of_the_spec_are_parameters_and_secrets_are_not() -> None:
    found = tracked_values.parameters(config(training={"steps": 8}).spec, UID)
    assert (found["training.steps"], found["language"], found["uid"]) == ("8", "it", UID)
    assert not [name for name in found if "secret" in name.lower()]


def test_measures_of_a_snapshot() -> None:
    assert tracked_values.points(snapshot()) == (
        Point("train/loss", 4, 1.25),
        Point("train/learning_rate", 4, 1e-3),
        Point("eval/score", 0, 75.0),
        Point("eval/wer", 0, 80.0),
        Point("eval/normalized_wer", 0, 75.0),
        Point("eval/score", 2, 9.0),
        Point("eval/wer", 2, 40.0),
        Point("eval/normalized_wer", 2, 35.0),
        Point("eval/cer", 2, 9.0),
    )


class DownTracker:
    """A double of a tracker that does not answer, and then refuses with a secret in its words."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.calls = 0

    def begin(self, _: Mapping[str, str]) -> None:
        self.calls += 1
        self.gate.wait()
        raise ConnectionError("no way to http://me:hunter2@tracker")

    def log(self, _: Sequence[Point]) -> None:
        raise AssertionError

    end: Any = log


def test_a_tracker_that_is_down_neither_slows_nor_fails_a_run(caplog: pytest.LogCaptureFixture) -> None:
    down = DownTracker()
    environment = {"MLFLOW_TRACKING_URI": "http://me:hunter2@tracker"}
    told = Tracking("MLflow", down, {}, lambda text: redaction.without_secrets(text, environment))
    for step in range(5000):
        told(snapshot(step))
    assert told._waiting.qsize() <= 2000
    down.gate.set()
    while down.calls < 2:
        told(snapshot(down.calls + 6000))
        time.sleep(0.01)
    told.conclude(result(), "pvc://runs/it")
    told.close()
    assert [record.getMessage() for record in caplog.records if record.name == tracking.__name__] == [
        "MLflow cannot be told of this run: ConnectionError: no way to $MLFLOW_TRACKING_URI. The run goes on without it"
    ]


def test_a_library_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with tracking.of_run(config().spec, "demo", UID, "/nowhere", Reporter(), {"WANDB_API_KEY": "x"}) as trackings:
        assert list(trackings) == []
    assert "build an image with the extra `wandb`" in caplog.text


@pytest.fixture(scope="module")
def trackers() -> Path:
    """Return the Python that has the trackers' clients and MLflow's server, which weigh 600 MB."""
    return locked_environment.python_of("trackers")


@pytest.fixture
def server(trackers: Path, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [trackers, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path)]
    with (tmp_path / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(f"{address}/health", process)
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, "the server has ended: see mlflow.log"
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 -- the test's own server
        except OSError:
            assert time.monotonic() < deadline, "the server does not answer: see mlflow.log"
            time.sleep(0.2)
        else:
            return


def attempt_twice(trackers: Path, folder: Path, **environment: str) -> str:
    """Make two attempts at a run, of which the first one fails, as pods do; return the log."""
    return attempt(trackers, folder, 4, "failed", environment) + attempt(trackers, folder, 8, "done", environment)


def attempt(trackers: Path, folder: Path, step: int, ending: str, environment: dict[str, str]) -> str:
    paths = [str(ROOT / part) for part in ("crds", "trainer", "tests", "tests/trainer")]
    ran = subprocess.run(
        [trackers, ROOT / "tests/trainer/tracked_runs.py", str(step), ending],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "SCRATCH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def ask(address: str, **body: Any) -> Any:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 -- the same
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- the same
        return json.load(answer)


@pytest.mark.slow
def test_two_attempts_are_one_run_on_an_mlflow_server(trackers: Path, server: str, tmp_path: Path) -> None:
    # The client reads them though this server asks for none.
    credentials = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "hunter2"}
    log = attempt_twice(trackers, tmp_path, MLFLOW_TRACKING_URI=server, **credentials)
    assert "hunter2" not in log
    assert "cannot be told" not in log
    api = f"{server}/api/2.0/mlflow"
    experiments = ask(f"{api}/experiments/search", max_results=10)["experiments"]
    (experiment,) = [each["experiment_id"] for each in experiments if each["name"] == "whisper-fine-tune"]
    (run,) = ask(f"{api}/runs/search", experiment_ids=[experiment])["runs"]
    assert (run["info"]["status"], run["info"]["run_name"]) == ("FINISHED", "demo")
    assert {entry["key"]: entry["value"] for entry in run["data"]["params"]} == tracked_values.parameters(
        config().spec, UID
    )
    assert {(entry["key"], entry["value"], int(entry.get("step", 0))) for entry in run["data"]["metrics"]} == {
        ("train/loss", 1.25, 8),
        ("train/learning_rate", 1e-3, 8),
        ("eval/score", 15.0, 8),
        ("eval/wer", 20.0, 8),
        ("eval/normalized_wer", 15.0, 8),
        ("eval/cer", 9.0, 2),
    }
    tags = {entry["key"]: entry["value"] for entry in run["data"]["tags"]}
    assert (tags["model"], tags["report"]) == ("s3://models/it/demo/model", "s3://models/it/demo/report.html")


@pytest.mark.slow
def test_weights_and_biases_gets_both_attempts_under_one_id(trackers: Path, tmp_path: Path) -> None:
    key = "0123456789abcdef0123456789abcdef01234567"
    log = attempt_twice(trackers, tmp_path, WANDB_API_KEY=key, WANDB_MODE="offline")
    assert key not in log
    assert "cannot be told" not in log
    files = sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert {file.stem for file in files} == {f"run-{UID}"}
    content = b"".join(file.read_bytes() for file in files)
    for written in (b"train/loss", b"eval/normalized_wer", b"training.steps", b"s3://models/it/demo/model"):
        assert written in content
    assert key.encode() not in content
