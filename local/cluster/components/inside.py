"""The first process inside a cluster's namespaces. It makes mounts, starts the components, and ends when one does.

Started by isolation.py with the path of the plan: `unshare ... python3 inside.py PLAN`.
"""

import os
import subprocess
import sys
from pathlib import Path

from cluster.components import node
from cluster.components.cluster_plan import ClusterPlan, read_plan
from cluster.components.component import Component, keep_running, wait_for_first_end
from cluster.components.control_plane import control_plane
from cluster.faults import ClusterError
from cluster.folders import ClusterFolders

SYSCTLS_OF_THE_KUBELET = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""The kubelet sets these for the whole machine, unless they have the wanted values already."""


def main() -> None:
    plan = read_plan(ClusterFolders(Path(sys.argv[1]).parent.name))
    if plan is None:
        raise ClusterError(f"no plan at {sys.argv[1]}")
    wait_for_the_network()
    make_mounts(plan)
    if plan.disturbed:
        keep_running(control_plane(plan), plan.folders.logs)
    running = start(plan, control_plane(plan))
    if plan.with_node:
        running |= start_node(plan)
    print(wait_for_first_end(running), file=sys.stderr)
    raise SystemExit(1)


def wait_for_the_network() -> None:
    """Tell the host that the namespaces exist, and wait until it has linked them with its own."""
    print("namespaces are made", flush=True)
    if not sys.stdin.readline():
        raise ClusterError("`up` was ended before the cluster had a network")
    os.dup2(2, 1)


def make_mounts(plan: ClusterPlan) -> None:
    """Give the cluster its own folders where its programs write to fixed paths of the host."""
    run("hostname", plan.folders.name)
    for folder in ("/run", "/var/lib/cni"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", folder)
    pod_logs = plan.folders.logs / "pods"
    pod_logs.mkdir(exist_ok=True)
    run("mount", "--bind", str(pod_logs), "/var/log")
    for name, value in SYSCTLS_OF_THE_KUBELET.items():
        if not (Path("/proc/sys") / name).exists():
            continue
        stand_in = Path("/run/sysctl") / name
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.write_text(f"{value}\n")
        run("mount", "--bind", str(stand_in), f"/proc/sys/{name}")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def start_node(plan: ClusterPlan) -> dict[int, str]:
    node.write_pod_network(plan)
    node.forget_containers(plan)
    running = start(plan, [node.containerd(plan)])
    node.wait_for_containerd()
    node.ctr("images", "import", str(plan.pause_image))
    return running | start(plan, [node.kubelet(plan), node.kube_proxy(plan)])


def start(plan: ClusterPlan, components: list[Component]) -> dict[int, str]:
    return {component.start(plan.folders.logs).pid: component.name for component in components}


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    try:
        main()
    except ClusterError as problem:
        raise SystemExit(str(problem)) from None
