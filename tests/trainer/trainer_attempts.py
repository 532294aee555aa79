"""Attempts at runs of a tiny model, in the test's own process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from trainer_configs import FOLDER, make_config, make_spec
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data.layouts.layout import LIMITS, StreamLimits
from whisper_finetune_trainer.entrypoints import attempt, ending
from whisper_finetune_trainer.entrypoints.ending import Ending
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.progress.progress import Reporter, Snapshot

_SMALL = {"batchSize": 4, "precision": "Float", "learningRate": "5e-3", "maxLabelTokens": 32}


@contextlib.contextmanager
def _own_signals() -> Iterator[StopRequest]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop = StopRequest()
    stop.listen()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Volume:
    """Where the runs of one test go."""

    def __init__(self, speech: Path, folder: Path) -> None:
        self.speech = speech
        self.folder = folder
        self.run = folder / "it" / FOLDER

    def config(
        self, output: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **training: Any
    ) -> TrainerConfig:
        """Return the configuration of a short run; `training` are fields of spec.training.

        Its volume has a split by which the best model is chosen, where `evalEverySteps` wants one.
        """
        changes = dict(spec or {})
        if "evalEverySteps" in training:
            source = {"source": "pvc://speech/clips", **changes.get("dataset", {})}
            changes["dataset"] = {"validationSplit": "validation", **source}
        made = make_spec(training={**_SMALL, **training}, output={"uri": "pvc://runs/it", **(output or {})}, **changes)
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        return make_config(made, self.speech, runs=self.folder, scratch=scratch)

    def attempt(
        self,
        config: TrainerConfig,
        on_change: Callable[[Snapshot], None] = lambda _: None,
        limits: StreamLimits = LIMITS,
    ) -> Ending:
        """Make an attempt in this process, with its signals; shards beyond the limits are a stream."""
        # More threads wait for each other longer than a model this small computes.
        torch.set_num_threads(1)
        reporter = Reporter()
        reporter.listen(on_change)
        with _own_signals() as stop:
            return ending.ending_of_attempt(lambda: attempt.make_attempt(config, reporter, stop, limits), reporter)

    def names(self, path: str = "") -> list[str]:
        return sorted(entry.name for entry in (self.run / path).iterdir())

    def json(self, path: str) -> Any:
        return json.loads((self.run / path).read_bytes())

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(str(self.run / "model/model.safetensors"))


def stop_at(step: int) -> Callable[[Snapshot], None]:
    """Return a listener that sends SIGTERM once, when a step is done."""
    sent: list[int] = []

    def listen(snapshot: Snapshot) -> None:
        progress = snapshot.report.progress
        if progress and progress.step == step and progress.loss and not sent:
            sent.append(step)
            os.kill(os.getpid(), signal.SIGTERM)

    return listen
