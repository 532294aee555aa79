"""Install the operator on the demo's cluster with helm, from the chart and the images of this checkout."""

import json
import subprocess
from pathlib import Path
from typing import Any

from cluster.programs import binaries
from demo.faults import DemoError
from demo.scenarios import Scenario
from images.recipes import REPOSITORY, Recipe

RELEASE = "whisper-finetune-operator"
NAMESPACE = "whisper-finetune"
CHART = REPOSITORY / "charts" / "whisper-finetune-operator"
SECONDS_TO_INSTALL = 180
#: The default of 15 s saves requests on a cluster with many runs. The demo has one run, and somebody watches its bar.
SECONDS_BETWEEN_PROGRESS = 5
OPERATOR = Recipe("operator")
SELECTOR = f"app.kubernetes.io/name={RELEASE}"


def values(scenario: Scenario) -> dict[str, Any]:
    """Return the chart's values for a node with two cores that has the images already."""
    repository, _, tag = OPERATOR.image.rpartition(":")
    # The tag stays the same when the image changes. The annotation makes a new pod for a new image.
    return {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
        "podAnnotations": {"whisperfinetune.dev/image": OPERATOR.key()},
        "replicaCount": 1,
        "settings": {"progressSeconds": SECONDS_BETWEEN_PROGRESS},
        **scenario.runtimes,
    }


def install(kubeconfig: Path, scenario: Scenario) -> None:
    """Install or upgrade, and wait until the operator is ready."""
    helm = str(binaries.program("helm"))
    command = [helm, "upgrade", RELEASE, str(CHART), "--install", f"--kubeconfig={kubeconfig}"]
    command += [f"--namespace={NAMESPACE}", "--create-namespace", "--values=-", "--wait"]
    command += [f"--timeout={SECONDS_TO_INSTALL}s"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, input=json.dumps(values(scenario)))
    if ran.returncode:
        raise DemoError(f"helm cannot install the operator: {ran.stderr.strip()}")
