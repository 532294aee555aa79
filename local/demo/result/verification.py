"""`verify`: is the model as good as the status says, when only transformers measures it?"""

import json
import os
import random
import subprocess
from pathlib import Path
from subprocess import PIPE
from typing import Any

from demo.faults import DemoError
from demo.result import finished
from demo.scenarios import Scenario

MEASURE = Path(__file__).parent / "pipeline_wer.py"
#: In points of normalized word error rate. Batches and versions round differently.
TOLERANCE = 1.5
#: With these, freed memory stays in the process, as in a trainer's pod. To get it anew would take a third of the time.
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "268435456"}
#: The API's description of dataset.evalFraction names it.
SPLIT_SEED = 0


def verify(name: str, scenario: Scenario, python: Path) -> str:
    """Measure the model of the demo's finished run, and return the comparison with its status in words.

    Raises DemoError where there is no finished run, or where the two do not agree.
    """
    run = finished.find(name, scenario)
    manifest = run.path(run.spec.dataset.source) / "manifest.jsonl"
    clips = held_out(manifest, float(run.spec.dataset.eval_fraction))
    measured = measure(python, run.path(run.model.uri), manifest, run.ran_on.precision, clips)
    versions = f"transformers {measured['transformers']} and torch {measured['torch']} on {measured['clips']} clips"
    return f"{versions}\n{verdict(float(run.result.score or 'nan'), measured['normalized_wer'])}"


def held_out(manifest: Path, fraction: float) -> list[str]:
    """Return the audio paths that a run holds out. They are drawn by the rule in the API's own description."""
    clips = [json.loads(line)["audio"] for line in manifest.read_text(encoding="utf-8").splitlines()]
    random.Random(SPLIT_SEED).shuffle(clips)  # noqa: S311 (nothing secret)
    return clips[: round(len(clips) * fraction)]


def measure(python: Path, model: Path, manifest: Path, precision: str, clips: list[str]) -> dict[str, Any]:
    """Return what another Python process measures. Its progress goes to the terminal."""
    command = [str(python), "-W", "ignore", str(MEASURE), str(model), str(manifest), precision]
    environment = {**os.environ, **MALLOC}
    ran = subprocess.run(command, check=False, stdout=PIPE, text=True, input=json.dumps(clips), env=environment)
    if ran.returncode:
        raise DemoError(f"`{' '.join(command)}` failed, for the reason above")
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def verdict(reported: float, measured: float) -> str:
    """Return the comparison in words. Raises DemoError where the two do not agree."""
    difference = measured - reported
    words = f"normalized word error rate: status {reported:.2f}, measured {measured:.2f} ({difference:+.2f})"
    if abs(difference) > TOLERANCE:
        raise DemoError(f"{words}: more than {TOLERANCE} points apart")
    return f"{words}: they agree within {TOLERANCE} points"
