import os
import subprocess
import sys

import pytest

from repository import ROOT

LOAD = "from whisper_finetune_trainer.machine import pod_limits; pod_limits.make_waiting_passive(); import torch"


@pytest.mark.parametrize(("wanted", "taken"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")], ids=["default", "admin's"])
@pytest.mark.slow
def test_threads_sleep_while_they_wait_unless_the_environment_says_otherwise(wanted: str | None, taken: str) -> None:
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("crds", "trainer"))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "OMP_DISPLAY_ENV": "TRUE"}
    if wanted is not None:
        environment["OMP_WAIT_POLICY"] = wanted
    # The library of threads itself says, when PyTorch loads it, what it took.
    process = subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, check=True)
    assert f"OMP_WAIT_POLICY = '{taken}'" in process.stderr
