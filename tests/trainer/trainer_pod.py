"""A trainer's process as a pod runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from object_store.server_process import free_port
from repository import ROOT
from trainer_configs import FOLDER, make_config, make_spec
from whisper_finetune_api.run import CONFIG_ENV, TrainerReport, TrainingResult

_DEADLINE_SECONDS = 240


class Pod:
    """A trainer's process with its volume, its log and its termination message."""

    def __init__(
        self,
        speech: Path,
        folder: Path,
        steps: int,
        spec: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.environment = environment or {}
        self.run = folder / "it" / FOLDER
        self.log = folder / "log"
        self.message_file = folder / "termination-log"
        self.port = free_port()
        training = {"steps": steps, "batchSize": 4, "precision": "Float", "resumeEverySeconds": 1, "maxLabelTokens": 32}
        spec = make_spec(training=training, output={"uri": "pvc://runs/it"}, **(spec or {}))
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
            **self.environment,
        }
        command = [sys.executable, "-m", "whisper_finetune_trainer", "--termination-log", str(self.message_file)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def send(self, number: signal.Signals, deadline_seconds: float = _DEADLINE_SECONDS) -> int:
        """Send a signal and return how the process ended."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=deadline_seconds)

    def kill(self) -> None:
        """End what is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

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
