"""What the tests tell trackers. Run as a program, it makes an attempt at a run."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any

from trainer_configs import make_config, make_spec
from whisper_finetune_api.run import ReportedModel, TrainerReport, TrainingResult
from whisper_finetune_api.v1alpha1.scores import Result, WordErrorRate
from whisper_finetune_api.v1alpha1.status import Progress
from whisper_finetune_trainer.progress.progress import Measured, Reporter, Snapshot
from whisper_finetune_trainer.tracking import tracking


def config(**changes: Any) -> Any:
    return make_config(make_spec(secretRefs=[{"name": "store", "keys": ["WANDB_API_KEY"]}], **changes))


def snapshot(step: int = 4) -> Snapshot:
    report = TrainerReport(
        stage="Training",
        progress=Progress(step=step, total_steps=8, percent=50, loss="1.2500", update_time="2026-01-01T00:00:00Z"),
        baseline=WordErrorRate(wer="80.00", normalized_wer="75.00"),
    )
    figures = WordErrorRate(wer="40.00", normalized_wer="35.00", cer="9.00")
    return Snapshot(report=report, learning_rate=1e-3, measured=Measured(2, figures))


def result() -> TrainingResult:
    return TrainingResult(
        message="all is well",
        result=Result(wer="20.00", normalized_wer="15.00"),
        model=ReportedModel(path="model", sha256="a" * 64, step=8),
        report="report.html",
    )


def attempt(step: int, *, is_done: bool) -> None:
    """Tell the trackers of the environment of an attempt; RuntimeError where it is not done."""
    made = config()
    with tracking.of_run(made.spec, made.name, made.uid, os.environ["SCRATCH"], Reporter(), os.environ) as trackings:
        assert len(trackings) == 1
        for each in trackings:
            each(snapshot(step))
            if not is_done:
                raise RuntimeError
            each.conclude(result(), "s3://models/it/demo")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    with contextlib.suppress(RuntimeError):
        attempt(int(sys.argv[1]), is_done=sys.argv[2] == "done")
