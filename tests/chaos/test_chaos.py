"""A short run of `make chaos`: a few faults, a few runs, and none of them may suffer."""

import subprocess
import sys

import pytest

from repository import ROOT

pytestmark = pytest.mark.apiserver
#: Its first faults refuse requests, delay them, kill etcd and freeze the leader.
_SEED = 4


@pytest.mark.timeout(600)
def test_no_run_suffers_from_a_minute_of_faults() -> None:
    command = [sys.executable, str(ROOT / "tests" / "chaos"), f"--seed={_SEED}", "--runs=30", "--minutes=0.7"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-3000:]
    assert ran.stdout.count("\nok   ") == 6
