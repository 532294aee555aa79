"""How to look further when the demo is over."""

from pathlib import Path

from demo.operator_installation import NAMESPACE, RELEASE
from e2e import installation


def text(kubeconfig: Path, cluster: str, model: Path) -> str:
    """Return commands that can be pasted, each with what it shows."""
    programs = Path(installation.cluster_program("bin", "kubectl")).parent
    commands = {
        "kubectl get wft --watch": "runs, as they go on",
        "kubectl get wft italian --output yaml": "all that the operator knows of it",
        "kubectl describe wft italian": "its events",
        "kubectl logs --selector whisperfinetune.dev/run-name=italian --tail 100": "the trainer's log",
        f"kubectl logs --namespace {NAMESPACE} deployment/{RELEASE}": "the operator's log",
        f"ls {model}": "the model, for transformers.pipeline",
        ".venv/bin/python tests/demo verify": "its word error rate, measured without our own code",
        f"python3 tests/cluster down --name {cluster}": "end the cluster, which is left up",
    }
    width = max(map(len, commands))
    environment = f"  export KUBECONFIG={kubeconfig} PATH={programs}:$PATH"
    lines = [f"  {command:{width}}  # {what}" for command, what in commands.items()]
    return "\n".join(["to look further:", environment, *lines])
