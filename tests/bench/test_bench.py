"""Each program of bench/ runs from end to end on very little data. Its output is checked, and no time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tiny_whisper
from demo.folders import DemoFolders
from repository import ROOT

pytestmark = pytest.mark.slow


def bench(program: str, *arguments: str, **environment: str) -> list[str]:
    """Return the lines that a program prints."""
    ran = subprocess.run(
        [sys.executable, str(ROOT / "bench" / program), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("layout", ["files", "parquet"])
def test_reading_a_data_set(layout: str) -> None:
    heads, line = bench("data.py", "--clips", "20", "--layout", layout)
    assert heads.split()[0] == "clips"
    assert line.split()[0] == "20"
    assert float(line.split()[-1]) > 0


def test_reading_a_stream_of_tars() -> None:
    _, line = bench("data.py", "--clips", "20", "--layout", "tar", "--streamed")
    assert line.split()[0] == "20"


def test_training_beside_the_plain_recipe(tmp_path: Path) -> None:
    demo = DemoFolders(tmp_path / "whisper-finetune" / "demo")
    tiny_whisper.build(demo.model, window_seconds=30)
    tiny_whisper.write_clips(demo.speech, 6, name="manifest")
    small = ("--steps", "2", "--clips", "2", "--batch-size", "1")
    printed = bench("trainer.py", *small, XDG_CACHE_HOME=str(tmp_path))
    result = json.loads(printed[-1])
    assert result["clipsPerSecond"].keys() == {"plain", "trainer"}
    assert result["wer"].keys() == {"before", "plain", "trainer"}
    assert result["ratio"] > 0


@pytest.mark.apiserver
def test_each_contender_makes_a_job_of_each_run() -> None:
    heads, _, *rows = bench("burst", "--runs", "20", "--rounds", "1", "--settle", "0", "--quiet", "0")
    contenders = [cell.strip() for cell in heads.split("|")][2:6]
    assert contenders == ["bare client", "JobSet", "JobSet without Service", "this operator"]
    cells = {
        title.strip(): [value.strip() for value in values] for _, title, *values, _ in (r.split("|") for r in rows)
    }
    assert cells["N = 20: Jobs"][:4] == ["20"] * 4
    for title in ("Jobs a second", "POST to Job, p99, s", "API server, CPU ms a run"):
        assert all(float(value) > 0 for value in cells[f"N = 20: {title}"]), title
    for title in ("operator, CPU ms a run", "operator, resident MiB"):
        bare, *operators = cells[f"N = 20: {title}"][:4]
        assert bare == ""
        assert all(float(value) > 0 for value in operators), title
