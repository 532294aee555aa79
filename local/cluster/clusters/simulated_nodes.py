"""A node without a kubelet, kwok-0, whose pods run and succeed by themselves. It is for tests with hundreds of pods.

A pod gets there if it selects the node's label (type=kwok) and tolerates its taint
(kwok.x-k8s.io/node=fake:NoSchedule). Pods of real nodes are not touched. Each simulated pod ends with the same
termination message.
"""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from cluster.faults import ClusterError
from cluster.folders import SOURCE, ClusterFolders
from cluster.host.processes import end_processes
from cluster.narration import say, step
from cluster.programs import binaries

SIMULATION = SOURCE / "simulation"
NODE = "kwok-0"
SELECTED_BY = "type=kwok"
SECONDS_UNTIL_READY = 60


def simulate_node(folders: ClusterFolders, prefix: Sequence[str], pods: IPv4Network, pod_stages: str) -> None:
    """Start kwok, or start it anew where it runs, and wait until its node is Ready.

    `prefix` goes before the command, such as an nsenter with which kwok ends when the cluster does.
    """
    kwok, kubectl = binaries.program("kwok"), binaries.program("kubectl")
    stop_simulation(folders)
    stages_file(folders).write_text(stages(kwok.parent, pod_stages))
    command = [
        *prefix,
        str(kwok),
        f"--kubeconfig={folders.admin_kubeconfig}",
        f"--manage-nodes-with-label-selector={SELECTED_BY}",
        "--node-lease-duration-seconds=40",
        f"--cidr={pods}",
        f"--config={stages_file(folders)}",
    ]
    client = [str(kubectl), f"--kubeconfig={folders.admin_kubeconfig}"]
    with step(f"starting the simulated node {NODE}"):
        forget_node(client)
        run_kubectl([*client, "create", "-f", str(SIMULATION / "node.yaml")])
        with (folders.logs / "kwok.log").open("ab") as log:
            environment = {**os.environ, "KWOK_WORKDIR": str(folders.state / "kwok")}
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        wait_until_ready([*client, "get", "node", NODE, "-o", "json"], process, folders.logs / "kwok.log")
    say(f"pods that select {SELECTED_BY} and tolerate kwok.x-k8s.io/node=fake:NoSchedule now run on {NODE}")


def stop_simulation(folders: ClusterFolders) -> None:
    end_processes(lambda command: command[-1:] == [f"--config={stages_file(folders)}"])


def forget_node(client: Sequence[str]) -> None:
    """Delete the node of an earlier kwok, which may still be Ready, and its Lease.

    kwok sets a node's status only while it has the Lease, and a Lease that a stopped kwok renewed is valid for another
    40 s. The garbage collector deletes it with the node, but may come late.
    """
    run_kubectl([*client, "delete", "node", NODE, "--ignore-not-found"])
    run_kubectl([*client, "delete", "lease", NODE, "--namespace=kube-node-lease", "--ignore-not-found"])


def remove_simulated_node(folders: ClusterFolders) -> None:
    """Stop kwok where it runs, and remove its node from a cluster that stays up."""
    if stages_file(folders).exists():
        stop_simulation(folders)
        forget_node([str(binaries.program("kubectl")), f"--kubeconfig={folders.admin_kubeconfig}"])
        stages_file(folders).unlink()


def stages_file(folders: ClusterFolders) -> Path:
    return folders.state / "kwok-stages.yaml"


def stages(kwok_folder: Path, pod_stages: str) -> str:
    """Return the stages that kwok has for a node, and those of a pod."""
    nodes = [(kwok_folder / name).read_text() for name in binaries.KWOK.files]
    return "\n---\n".join([*nodes, pod_stages])


def succeeding_pods(termination_message: str) -> str:
    """Return the stages of pods that run for a second and succeed with that message."""
    stages = (SIMULATION / "pod-stages.yaml").read_text()
    return stages.replace("message: TERMINATION_MESSAGE", f"message: {quoted(termination_message)}")


def quoted(message: str) -> str:
    """Return the message as one line of YAML that kwok's Go templates leave as it is."""
    return json.dumps(message).replace("{{", '{{ "{{" }}')


def run_kubectl(command: Sequence[str]) -> str:
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise ClusterError(f"`kubectl {' '.join(command[2:])}` failed: {ran.stderr.strip()}")
    return ran.stdout


def wait_until_ready(get_node: Sequence[str], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS_UNTIL_READY
    while not is_ready(json.loads(run_kubectl(get_node))):
        if process.poll() is not None:
            raise ClusterError(f"kwok ended with status {process.returncode}: see the end of {log}")
        if time.monotonic() > deadline:
            raise ClusterError(f"node {NODE} is not ready after {SECONDS_UNTIL_READY} s: see the end of {log}")
        time.sleep(0.2)


def is_ready(node: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
