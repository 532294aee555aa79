"""What runs on the IPU stack's Python: the API package and the trainer, and everything that needs optimum-graphcore.

The files of `ipu/` run on an emulated PopTorch (`poptorch_emulation/`), each in a process of its own.
"""

import os
import re
import subprocess
import warnings
from pathlib import Path

import pytest

from repository import ROOT

PYTHON = ROOT / ".venv38" / "bin" / "python"
MODULES = (
    "crds/test_v1alpha1",
    "crds/test_acceptance",
    "trainer/test_run_folder",
    "trainer/test_checkpoint_state",
    "trainer/test_progress",
    "trainer/test_result",
    "trainer/test_milestones",
    "trainer/test_main",
    "trainer/test_report_steps",
    "trainer/test_report_words",
    "trainer/test_report_figures",
    "trainer/test_report_page",
    "trainer/test_report_sounds",
    "trainer/test_translations",
    "trainer/test_layouts_on_volumes",
    "trainer/test_links",
    "trainer/test_logs",
    "trainer/test_quoting",
    "trainer/test_redaction",
    "trainer/test_secret_environment",
    "trainer/test_parquet_layouts",
    "trainer/test_passages",
)
IPU_TESTS = sorted((ROOT / "tests" / "ipu").glob("test_*.py"))
#: This Python's pytest and plugins are older: neither the project's configuration nor its fixtures fit it.
OPTIONS = ("-q", "-rs", "-c", os.devnull, "--rootdir", str(ROOT), "--import-mode=importlib", "-p", "no:cacheprovider")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv38: no Python 3.8 on this machine"),
]


def run(files: list[Path], *options: str, folders: tuple[str, ...]) -> None:
    """Run test files on Python 3.8; all must pass, and what was skipped is counted and named in a warning."""
    ran = subprocess.run(
        [PYTHON, "-m", "pytest", *OPTIONS, *options, *files],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in folders),
            # Two threads that wait for each other take twenty times as long over networks as small as these.
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
    for count, reason in re.findall(r"^SKIPPED \[(\d+)\] (.+)$", ran.stdout, re.MULTILINE):
        warnings.warn(f"on Python 3.8, {count} skipped: {reason}", stacklevel=2)


def test_the_api_and_the_trainer_keep_to_python_38() -> None:
    files = [ROOT / "tests" / f"{module}.py" for module in MODULES]
    run(files, "--noconftest", folders=("crds", "trainer", "tests", "tests/trainer"))


@pytest.mark.parametrize("file", IPU_TESTS, ids=lambda file: file.stem.removeprefix("test_"))
def test_the_ipu_stack(file: Path) -> None:
    folders = ("crds", "trainer", "tests", "tests/trainer", "tests/ipu", "tests/poptorch_emulation")
    run([file], f"--confcutdir={file.parent}", folders=folders)
