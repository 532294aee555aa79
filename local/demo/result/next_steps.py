"""The commands that the demo shows at its end."""

from pathlib import Path

from demo.operator_installation import NAMESPACE, RELEASE
from demo.scenarios import Scenario
from images import loading


def text(kubeconfig: Path, cluster: str, model: Path, scenario: Scenario) -> str:
    """Return commands to paste, each with what it shows."""
    programs = Path(loading.cluster_program("bin", "kubectl")).parent
    commands = {
        "kubectl get wft --watch": "runs, as they go on",
        f"kubectl get wft {scenario.run_name} --output yaml": "all that the operator knows of it",
        f"kubectl describe wft {scenario.run_name}": "its events",
        f"kubectl logs --selector whisperfinetune.dev/run-name={scenario.run_name} --tail 100": "the trainer's log",
        f"kubectl logs --namespace {NAMESPACE} deployment/{RELEASE}": "the operator's log",
        f"ls {model}": "the model, for transformers.pipeline",
        **verification(scenario),
        f"python3 local/cluster down --name {cluster}": "end the cluster, which is left up",
    }
    width = max(map(len, commands))
    environment = f"  export KUBECONFIG={kubeconfig} PATH={programs}:$PATH"
    lines = [f"  {command:{width}}  # {what}" for command, what in commands.items()]
    return "\n".join(["to look further:", environment, *lines])


def verification(scenario: Scenario) -> dict[str, str]:
    """Return the command that measures the scenario's model anew. A model that learned from tones has none."""
    option = " --output s3" if scenario.in_bucket else ""
    what = "its word error rate, measured without our own code"
    return {f".venv/bin/python local/demo verify{option}": what} if scenario.verifiable else {}
