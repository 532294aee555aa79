"""Configurations of small runs, as the operator would give them to a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import specs
from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.run import HubCommits, TrainerConfig
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.model.model_card import DescribedRun

UID = "0badcafe-1111-2222-3333-444455556666"
#: The run's folder below output.uri.
FOLDER = "demo-0badcafe"


def make_spec(**changes: Any) -> dict[str, Any]:
    """Return the spec of a run on the claim `speech`; `changes` replace or add fields of it."""
    spec: dict[str, Any] = {
        "model": "pvc://speech/model",
        "language": "it",
        "dataset": {"source": "pvc://speech/clips"},
        "output": {"uri": "pvc://speech/runs"},
    }
    return {**spec, **changes}


def make_config(
    spec: Mapping[str, Any],
    speech: object = "/nowhere",
    *,
    runs: object = "/nowhere",
    scratch: object = "/nowhere",
    port: int = 0,
) -> TrainerConfig:
    """Return the configuration of run speech/demo with the claims `speech` and `runs` at folders."""
    checked = WhisperFineTuneSpec.model_validate(spec)
    return TrainerConfig(
        name="demo",
        namespace="speech",
        uid=UID,
        spec=checked,
        accelerator="cpu",
        schedule=run_plan.make_schedule(checked.training, "cpu"),
        volumes={"speech": str(speech), "runs": str(runs)},
        progress_port=port,
        scratch_folder=str(scratch),
        scratch_limit_bytes=100_000_000,
    )


def described_run(config: TrainerConfig) -> DescribedRun:
    """Return what cards and reports say of a run that reads nothing from the Hub."""
    identity = config.namespace, config.name, config.uid
    return DescribedRun(*identity, config.spec, config.accelerator, config.schedule, HubCommits())


def config_on(volume: Path, changes: dict[str, Any]) -> TrainerConfig:
    """Return the configuration of a run on the folders model and clips of a volume; `changes` are of its spec."""
    return make_config(specs.with_changes(make_spec(), changes), speech=volume, scratch=volume)
