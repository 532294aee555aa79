"""Install the operator from its chart on the tests' cluster."""

import subprocess
import sys
from pathlib import Path

from e2e import operator_pod
from images.loading import cluster_program, output_of
from repository import ROOT

CHART = ROOT / "charts" / "whisper-finetune-operator"
VALUES = Path(__file__).parent / "values.yaml"


def is_up(cluster: str) -> bool:
    status = [sys.executable, str(ROOT / "local" / "cluster"), "status", "--name", cluster]
    return subprocess.run(status, stdout=subprocess.DEVNULL, check=False).returncode == 0


def install_chart(kubeconfig: Path, operator_version: str) -> None:
    """Install the chart, or upgrade it, and wait until the operator is ready; another version replaces its pods."""
    helm = cluster_program("bin", "helm")
    output_of(
        helm, "upgrade", operator_pod.DEPLOYMENT, str(CHART), "--install", f"--kubeconfig={kubeconfig}",
        f"--namespace={operator_pod.NAMESPACE}", "--create-namespace", f"--values={VALUES}",
        f"--set-string=podAnnotations.version={operator_version}", "--wait", "--timeout=120s",
    )  # fmt: skip
