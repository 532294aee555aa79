"""The API package and the trainer on the IPU stack's Python: the tests that need no newer library, run there."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv38" / "bin" / "python"
MODULES = (
    "v1alpha1",
    "trainer_run_folder",
    "trainer_checkpoint_state",
    "trainer_progress",
    "trainer_result",
    "trainer_milestones",
    "trainer_main",
)


@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv38: no Python 3.8 on this machine")
def test_the_api_and_the_trainer_keep_to_python_38() -> None:
    files = [str(ROOT / "tests" / f"test_{module}.py") for module in MODULES]
    # This Python's pytest and plugins are older: neither the project's configuration nor its fixtures fit it.
    options = ["-q", "-c", "/dev/null", "--noconftest", "--import-mode=importlib", "-p", "no:cacheprovider"]
    path = os.pathsep.join(str(ROOT / folder) for folder in ("crds", "trainer", "tests"))
    ran = subprocess.run(
        [PYTHON, "-m", "pytest", *options, *files],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
