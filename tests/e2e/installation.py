"""Bring up the tests' cluster, and install the operator from its chart."""

import subprocess
import sys
from pathlib import Path

from kubernetes import client

from e2e import operator_pod
from repository import ROOT

CHART = ROOT / "charts" / "whisper-finetune-operator"
#: On a node: the archives whose images it has. Their names hold a digest of all that went in.
LOADED = "whisperfinetune.dev/loaded-images"
VALUES = Path(__file__).parent / "values.yaml"


def cluster_program(*arguments: str) -> str:
    """Run `local/cluster` and return what it prints; its own progress goes to the terminal."""
    return output_of(sys.executable, str(ROOT / "local" / "cluster"), *arguments)


def images_program(*arguments: str) -> str:
    """Run `local/images` and return what it prints."""
    return output_of(sys.executable, str(ROOT / "local" / "images"), *arguments)


def output_of(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def is_up(cluster: str) -> bool:
    status = [sys.executable, str(ROOT / "local" / "cluster"), "status", "--name", cluster]
    return subprocess.run(status, stdout=subprocess.DEVNULL, check=False).returncode == 0


def load_images(cluster: str, core: client.CoreV1Api, *wanted: str) -> str:
    """Build what changed of all or the wanted images, load what the node lacks, and return the operator's version."""
    archives = [archive for image in wanted or ("all",) for archive in images_program("build", image).splitlines()]
    for node in core.list_node(label_selector="type!=kwok").items:
        loaded = (node.metadata.annotations or {}).get(LOADED, "").split()
        if missing := [archive for archive in archives if archive not in loaded]:
            cluster_program("load", "--name", cluster, *missing)
            core.patch_node(node.metadata.name, {"metadata": {"annotations": {LOADED: " ".join(archives)}}})
    return Path(archives[0]).stem


def install_chart(kubeconfig: Path, operator_version: str) -> None:
    """Install the chart, or upgrade it, and wait until the operator is ready; another version replaces its pods."""
    helm = cluster_program("bin", "helm")
    output_of(
        helm, "upgrade", operator_pod.DEPLOYMENT, str(CHART), "--install", f"--kubeconfig={kubeconfig}",
        f"--namespace={operator_pod.NAMESPACE}", "--create-namespace", f"--values={VALUES}",
        f"--set-string=podAnnotations.version={operator_version}", "--wait", "--timeout=120s",
    )  # fmt: skip
