"""Each program of bench/ runs from end to end on very little data. Its output is checked, and no time.

What each has printed stands at the end of pytest's output, also where it passed (`tests/conftest.py`).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny_whisper
import tones
from demo.folders import DemoFolders
from repository import ROOT

pytestmark = pytest.mark.slow
Bench = Callable[..., list[str]]


@pytest.fixture
def bench(record_property: Callable[[str, object], None]) -> Bench:
    """Return what runs a program and returns the lines that it prints."""

    def run(program: str, *arguments: str, **environment: str) -> list[str]:
        ran = subprocess.run(
            [sys.executable, str(ROOT / "bench" / program), *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        record_property("printed by a bench", ran.stdout)
        return ran.stdout.splitlines()

    return run


@pytest.mark.parametrize("layout", ["files", "parquet"])
def test_reading_a_data_set(bench: Bench, layout: str) -> None:
    heads, line = bench("data.py", "--clips", "20", "--layout", layout)
    assert heads.split()[0] == "clips"
    assert line.split()[0] == "20"
    assert float(line.split()[-1]) > 0


def test_reading_a_stream_of_tars(bench: Bench) -> None:
    _, line = bench("data.py", "--clips", "20", "--layout", "tar", "--streamed")
    assert line.split()[0] == "20"


def test_training_beside_the_plain_recipe(bench: Bench, tmp_path: Path) -> None:
    demo = DemoFolders(tmp_path / "whisper-finetune" / "demo")
    tiny_whisper.build(demo.model, window_seconds=30)
    tones.write_clips(demo.speech, 6, name="manifest")
    small = ("--steps", "2", "--clips", "2", "--batch-size", "1")
    printed = bench("trainer.py", *small, XDG_CACHE_HOME=str(tmp_path))
    result = json.loads(printed[-1])
    assert result["clipsPerSecond"].keys() == {"plain", "trainer"}
    assert result["wer"].keys() == {"before", "plain", "trainer"}
    assert result["ratio"] > 0


def test_a_run_of_wrong_transcripts_and_the_table_of_what_is_claimed(bench: Bench, tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model/whisper-base")
    for language, name in (("it", "manifest"), ("es", "test"), ("en", "test")):
        tones.write_clips(tmp_path / "speech" / language, 20, name=name)
    little = ("--only", "shuffled", "--steps", "1", "--folder", str(tmp_path))
    machine, _, heads, _, row = bench("trust", *little)
    assert "bench/trust --only shuffled --steps 1" in machine
    assert cells_of(heads) == ["question", "claim", "holds", "what the runs report"]
    question, claim, _, found = cells_of(row)
    assert (question, claim) == ("verdict", "shuffled: Worse, and refused by the gate")
    assert "held-out" in found
    assert bench("trust", *little, "--finished")[-1] == row


def test_a_run_that_fails_says_why_and_costs_no_other_line(tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model/whisper-base")
    for language, name in (("it", "manifest"), ("es", "test"), ("en", "test")):
        tones.write_clips(tmp_path / "speech" / language, 20, name=name)
    (tmp_path / "model/whisper-base/config.json").unlink()
    command = [sys.executable, str(ROOT / "bench/trust"), "--only", "shuffled", "--folder", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "shuffled: model: " in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("|---")


@pytest.mark.apiserver
def test_each_contender_makes_a_job_of_each_run(bench: Bench) -> None:
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


@pytest.mark.parametrize(
    ("situation", "last_event"),
    [
        ("waiting", "a run ends, and the next one has its partition"),
        ("refused", "a pod is admitted"),
        ("finished", "a finished run is deleted"),
    ],
)
def test_what_one_event_costs(bench: Bench, situation: str, last_event: str) -> None:
    little = ("--events", "5", "--rest", "1", "--quiet", "0.5", "--scrapes", "1")
    heads, _, *rows = bench("scale", "events", "--situations", situation, "--runs", "20", *little)
    assert cells_of(heads)[1:] == ["20", "last to first", "requests"]
    rows_by_title = {title: values for title, *values in map(cells_of, rows)}
    assert all(len(values) == 3 for values in rows_by_title.values())
    assert float(rows_by_title["resident MiB"][0]) > 0
    requests = float(rows_by_title[f"{last_event}: CPU ms"][-1])
    assert requests == 0 if situation == "finished" else requests > 0
    if situation != "waiting":
        # The queue is another one than when the runs that wait came.
        assert rows_by_title["start: writes"][0] == "0.00"


@pytest.mark.apiserver
def test_a_burst_on_simulated_nodes_and_a_start_that_writes_nothing(bench: Bench) -> None:
    heads, _, *rows = bench("scale", "burst", "--runs", "30", "--nodes", "3", "--namespaces", "2")
    assert cells_of(heads)[1:] == ["30 runs"]
    values = {title: value for title, value, *_ in map(cells_of, rows)}
    assert values["nodes; namespaces"] == "3; 2"
    assert float(values["operator: create jobs, a run"]) == 1.0
    assert values["started anew: writes"] == "0"
    for title in ("etcd: MiB of its file", "started anew: s until it has reconciled all"):
        assert float(values[title]) > 0, title


def cells_of(row: str) -> list[str]:
    """Return the cells of a line of a Markdown table."""
    return [cell.strip() for cell in row[1:-1].split("|")]
