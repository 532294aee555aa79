"""What is wrong with a run is found by its trainer, and named by the status that follows from its last words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import run_objects
import run_scenarios
from e2e import faults, speech_volume
from e2e.runs import TINY, condition, succeeded
from forking_trainer import ForkingTrainer, forking_trainer
from run_scenarios import CREATED, JOB, PREPARING, Moment
from specs import with_changes
from trainer_configs import make_config
from whisper_finetune_api.causes import FINAL_EXIT_CODES
from whisper_finetune_api.run import CONFIG_ENV

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the volume of the end-to-end tests."""
    folder = tmp_path_factory.mktemp("volume")
    speech_volume.fill(folder)
    return folder


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkingTrainer]:
    with forking_trainer(tmp_path_factory.mktemp("home")) as forking:
        yield forking


@pytest.mark.parametrize("name", faults.FINAL_OF_TRAINER)
def test_final_fault_is_named_by_the_trainer(volume: Path, trainer: ForkingTrainer, tmp_path: Path, name: str) -> None:
    fault = faults.FINAL_OF_TRAINER[name]
    spec = with_changes(TINY, {"output.uri": "pvc://runs/it", **fault.changes})
    config = make_config(spec, volume, runs=tmp_path, scratch=tmp_path / "scratch")
    message, log = tmp_path / "termination-log", tmp_path / "log"
    code = trainer.run({CONFIG_ENV: config.model_dump_json(by_alias=True)}, message, log)
    assert code in FINAL_EXIT_CODES, log.read_text(encoding="utf-8")
    failed = status_after(code, message.read_text(encoding="utf-8"))
    assert failed["state"] == "Failed"
    assert failed["attempts"]["started"] == 1
    run = {"status": failed}
    faults.assert_named(run, fault)
    assert succeeded(run)["status"] == "False"
    assert condition(run, "Stalled")["status"] == "True"


def status_after(exit_code: int, termination_message: str) -> dict[str, Any]:
    """Return what the operator makes of a run whose first pod ended so."""
    over = Moment(60, run_objects.job(), (run_objects.ended(2, 5, 50, exit_code, termination_message),))
    _, decision = run_scenarios.tell((CREATED, JOB, PREPARING, over))[-1]
    status: dict[str, Any] = decision.status.to_json_object()
    return status


def test_each_kind_of_their_ends_is_seen_in_a_pod_too() -> None:
    in_pods = {fault.reason for fault in faults.FINAL.values()}
    assert {fault.reason for fault in faults.FINAL_OF_TRAINER.values()} <= in_pods
