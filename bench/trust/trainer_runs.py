"""Run an experiment through the trainer's own command, and read what it has reported."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from trust.experiments import VOLUME, Experiment

from whisper_finetune_api.run import TrainerConfig, TrainingResult
from whisper_finetune_trainer.checkpoints import earlier_attempts
from whisper_finetune_trainer.entrypoints import configuration
from whisper_finetune_trainer.output import run_output
from whisper_finetune_trainer.output.run_folder import RunFolder

_ROOT = Path(__file__).resolve().parents[2]


class RunFailedError(Exception):
    """The text says which run failed, and why."""


@dataclass(frozen=True)
class ReportedRun:
    """A finished run, and what it said on its last line."""

    name: str
    config: TrainerConfig
    result: TrainingResult

    def folder(self) -> RunFolder:
        """Return the folder that the run has written, to read in."""
        spec, name, uid = self.config.spec, self.config.run_folder_name, self.config.uid
        return run_output.open_run_folder(
            spec, name, uid, self.config.volumes, self.config.scratch_folder, check_grace=lambda: None
        )

    def path_of(self, path: str) -> Path:
        """Return a local path below the run's folder."""
        return Path(self.config.volumes[VOLUME]) / "runs" / self.config.run_folder_name / path


def run_experiment(experiment: Experiment, volume: Path, steps: int | None = None) -> ReportedRun:
    """Train and measure, from where an earlier call was stopped. A finished run reports its result at once.

    The trainer's log is appended to `logs/NAME.log` of the volume. Raises RunFailedError.
    """
    spec_file, log = _write_spec(experiment, volume, steps), volume / "logs" / f"{experiment.name}.log"
    log.parent.mkdir(exist_ok=True)
    (volume / "runs").mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "whisper_finetune_trainer",
        "run",
        str(spec_file),
        "--volume",
        f"{VOLUME}={volume}",
    ]
    paths = os.pathsep.join(str(_ROOT / folder) for folder in ("crds", "trainer"))
    environment = {**os.environ, "PYTHONPATH": paths}
    with log.open("a", encoding="utf-8") as lines:
        ran = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=lines, env=environment)
    finished = None if ran.returncode else read_finished(experiment, volume, steps)
    if finished is None:
        said = ran.stdout.decode().splitlines()
        message = TrainingResult.model_validate_json(said[-1]).message if said else "it said nothing"
        raise RunFailedError(f"{experiment.name}: {message} (exit code {ran.returncode}; see {log})")
    return finished


def read_finished(experiment: Experiment, volume: Path, steps: int | None = None) -> ReportedRun | None:
    """Return what a run has reported that is finished, or None."""
    described = configuration.read_spec_file(_write_spec(experiment, volume, steps))
    config = configuration.config_of_workstation(described, {VOLUME: str(volume)}, "cpu", volume)
    run = ReportedRun(experiment.name, config, TrainingResult())
    result = earlier_attempts.finished_result(run.folder())
    return None if result is None else replace(run, result=result)


def _write_spec(experiment: Experiment, volume: Path, steps: int | None) -> Path:
    file = volume / "specs" / f"{experiment.name}.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(experiment.to_object(steps), sort_keys=False), encoding="utf-8")
    return file
