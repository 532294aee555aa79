"""The trainer's commands on Python 3.8, each in a process of its own: `run` with loader processes, and `compile`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import ipu_runs
import pytest
import yaml

import shards
import specs
from repository import ROOT
from trainer_configs import make_spec

FOLDERS = ("crds", "trainer", "tests/poptorch_emulation")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = ipu_runs.write_speech(tmp_path_factory.mktemp("speech"))
    shards.write_tars(folder / "tar", 40, 10)
    # A tar file of zeros has no members, and a disk does not store them: these shards are too large to be listed.
    (folder / "tar/train-999999.tar").touch()
    os.truncate(folder / "tar/train-999999.tar", 65 * 1024**3)
    return folder


def command(speech: Path, folder: Path, verb: str, *options: str, source: str = "clips", **changes: Any) -> List[str]:
    """Return the command line for a run of a few steps that lies in a folder; `changes` are of spec.training."""
    values = {"steps": 4, "batchSize": 4, "precision": "Float", "learningRate": "1e-3", "maxLabelTokens": 32, **changes}
    spec = specs.with_changes(
        make_spec(dataset={"source": f"pvc://speech/{source}"}),
        {f"training.{name}": value for name, value in values.items()},
    )
    described = {
        "apiVersion": "whisperfinetune.dev/v1alpha1",
        "kind": "WhisperFineTune",
        "metadata": {"name": "demo"},
        "spec": {**spec, "output": {"uri": "pvc://runs/it"}},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(described), encoding="utf-8")
    volumes = ["--volume", f"speech={speech}", "--volume", f"runs={folder}"]
    return [sys.executable, "-m", "whisper_finetune_trainer", verb, str(path), "--ipus", "2", *volumes, *options]


def environment(**more: str) -> Dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in FOLDERS), **more}


def on_two_cpus() -> None:
    """Let the process have CPUs for loaders' processes, where there are any: the tests themselves keep to one."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


@pytest.mark.parametrize("source", ["clips", "tar"], ids=["of a list", "of a stream"])
def test_a_run_that_is_stopped_while_processes_make_its_features(speech: Path, tmp_path: Path, source: str) -> None:
    arguments = command(speech, tmp_path, "run", "--accelerator", "ipu", source=source, steps=300)
    process = subprocess.Popen(
        arguments,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        preexec_fn=on_two_cpus,  # noqa: PLW1509 -- this process has no threads
    )
    assert process.stderr is not None
    seen: List[str] = []
    for line in process.stderr:
        seen.append(line)
        if "Running training" in line:
            break
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 75, "".join(seen) + errors
    result = json.loads(output.splitlines()[-1])
    assert result["message"].startswith("stopped by SIGTERM")
    assert result["ranOn"]["hardware"] == "2 IPUs, 1 replica of 2"
    assert result["data"]["split"] == {"clips": "Fraction", "tar": "Hash"}[source]


def test_compile_fills_the_cache_on_a_machine_without_ipus(speech: Path, tmp_path: Path) -> None:
    cache = tmp_path / "executables"
    more = {"NUM_AVAILABLE_IPU": "0", "POPLAR_EXECUTABLE_CACHE_DIR": str(cache)}
    ended = subprocess.run(
        command(speech, tmp_path, "compile"), env=environment(**more), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"the training graph of pvc://speech/model is in {cache}/whisper\n"
    (compiled,) = (cache / "whisper").iterdir()
    more["NUM_AVAILABLE_IPU"] = "2"
    ran = subprocess.run(
        command(speech, tmp_path, "run", "--accelerator", "ipu"),
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    # The run found the training graph and added those of generation.
    found = sorted((cache / "whisper").iterdir())
    assert len(found) == 3
    assert compiled in found


def test_compile_without_a_cache_is_refused(speech: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        command(speech, tmp_path, "compile"), env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 64
    assert "there is no executable cache to compile into: $POPLAR_EXECUTABLE_CACHE_DIR is not set" in ended.stderr
