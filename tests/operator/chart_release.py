"""The chart, rendered by helm, for the tests of the chart."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from cluster.programs import binaries
from repository import ROOT

CHART = ROOT / "charts" / "whisper-finetune-operator"
RELEASE = "whisper-finetune-operator"
NAMESPACE = "whisper-finetune"

Objects = dict[tuple[str, str], dict[str, Any]]


def helm(*arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(binaries.program("helm")), *arguments, "--values=-"]
    return subprocess.run(command, check=False, input=json.dumps(values or {}), capture_output=True, text=True)


def render(values: dict[str, Any] | None = None, release: str = RELEASE, chart: Path = CHART) -> Objects:
    """What the chart makes of the values, by kind and name."""
    rendered = helm("template", release, str(chart), f"--namespace={NAMESPACE}", values=values)
    assert rendered.returncode == 0, rendered.stderr
    return {
        (each["kind"], each["metadata"]["name"]): each
        for each in yaml.safe_load_all(rendered.stdout)
        if each is not None
    }
