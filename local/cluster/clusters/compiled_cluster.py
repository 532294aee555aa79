"""A real Kubernetes of compiled programs, in namespaces of its own on this host."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.clusters import api_client, simulated_nodes
from cluster.clusters.preparation import prepare, require_linux_root
from cluster.components.addresses import choose_addresses
from cluster.components.cluster_plan import NODE_NAME, ClusterPlan, cgroup_name, plan_file, read_plan
from cluster.components.credentials import write_credentials
from cluster.components.node import IMAGE_NAMESPACE, SOCKET
from cluster.faults import ClusterError
from cluster.folders import ClusterFolders, cache_root
from cluster.host import host_network
from cluster.host.control_groups import make_control_groups, remove_control_groups
from cluster.host.isolation import Isolation, end_isolated, find_isolation, let_go, start_isolated
from cluster.host.locks import exclusive
from cluster.host.small_disk import mount_small_disk
from cluster.narration import say, step

SECONDS_UNTIL_READY = 180
LAYER_IS_GONE = re.compile(r"parent snapshot \S+ does not exist")
KEPT = ("containerd", "volumes", "lock")
"""What of a cluster's state outlives it: imported images, and the volumes' data."""


@dataclass(frozen=True)
class CompiledCluster:
    folders: ClusterFolders

    def up(self, *, with_node: bool, disturbed: bool = False) -> None:
        """Start it, or wait until the one that runs is ready. One that runs is never ended: it may only be slow.

        The programs of a `disturbed` control plane are started anew when they end, and it keeps an audit log.
        """
        require_linux_root()
        with exclusive(self.folders.state / "lock", f"changing cluster {self.folders.name!r}"):
            if find_isolation(plan_file(self.folders)):
                self.join(with_node=with_node)
                return
            programs, pause_image = prepare(self.folders, with_node=with_node)
            with step("cleaning up after a predecessor"):
                self.end(KEPT)
            try:
                self.start(programs, pause_image, with_node=with_node, disturbed=disturbed)
            except BaseException:
                end_isolated(plan_file(self.folders))
                raise

    def join(self, *, with_node: bool) -> None:
        plan = self.running_plan()
        name = self.folders.name
        if with_node and not plan.with_node:
            raise ClusterError(f"cluster {name!r} is up without a node: run `down` first, or `up --no-node`")
        self.wait_until_ready(plan)
        say(f"cluster {name!r} is up already at {plan.addresses.api_server}")

    def running_plan(self) -> ClusterPlan:
        plan = read_plan(self.folders)
        if plan is None:
            raise ClusterError(f"{plan_file(self.folders)} of a running cluster is gone: run `down`, then `up`")
        return plan

    def start(self, programs: Path, pause_image: Path, *, with_node: bool, disturbed: bool) -> None:
        self.folders.logs.mkdir(parents=True)
        with (
            step("making namespaces, network and keys"),
            exclusive(cache_root() / "network.lock", "choosing addresses"),
        ):
            addresses = choose_addresses(self.folders.name, host_network.networks_in_use())
            plan = ClusterPlan(self.folders, addresses, programs, pause_image, with_node, disturbed)
            plan.write()
            write_credentials(plan)
            make_control_groups(plan.cgroup)
            process = start_isolated(plan_file(self.folders), self.folders.logs / "inside.log")
            host_network.connect(addresses, Isolation(process.pid))
        let_go(process)
        self.wait_until_ready(plan)
        say(f"cluster {self.folders.name!r} is up at {addresses.api_server}")

    def wait_until_ready(self, plan: ClusterPlan) -> None:
        kubeconfig = self.folders.admin_kubeconfig
        self.wait("the API server", lambda: api_client.is_ready(kubeconfig))
        if plan.with_node:
            self.wait("the node", lambda: api_client.is_node_ready(kubeconfig, NODE_NAME))

    def wait(self, what: str, is_ready: Callable[[], bool]) -> None:
        if is_ready():
            return
        deadline = time.monotonic() + SECONDS_UNTIL_READY
        with step(f"waiting for {what}"):
            while not is_ready():
                if find_isolation(plan_file(self.folders)) is None:
                    raise ClusterError(f"the cluster ended: {last_line(self.folders.logs / 'inside.log')}")
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"{what} is not ready after {SECONDS_UNTIL_READY} s: see {self.folders.logs}, or run `down`"
                    )
                time.sleep(0.1)

    def down(self, *, purge: bool) -> None:
        require_linux_root()
        if not self.folders.state.exists():
            say(f"cluster {self.folders.name!r} is down already")
            return
        with (
            exclusive(self.folders.state / "lock", f"changing cluster {self.folders.name!r}"),
            step("ending the cluster"),
        ):
            self.end(() if purge else (*KEPT, "logs"))
            if purge:
                self.folders.state.rmdir()

    def end(self, kept: Sequence[str]) -> None:
        """End the processes, and remove what they leave on the host. Do nothing where nothing is left."""
        plan = read_plan(self.folders)
        end_isolated(plan_file(self.folders))
        if plan:
            host_network.disconnect(plan.addresses)
        remove_control_groups(cgroup_name(self.folders.name))
        for path in self.folders.state.iterdir():
            if path.name in kept:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def status(self) -> int:
        plan = read_plan(self.folders)
        if not plan or not find_isolation(plan_file(self.folders)):
            print(f"cluster {self.folders.name!r} is down")
            return 1
        ready = api_client.is_ready(self.folders.admin_kubeconfig)
        server = plan.addresses.api_server
        print(f"cluster {self.folders.name!r}: the API server at {server} is {'ready' if ready else 'NOT ready'}")
        if plan.with_node:
            node_ready = api_client.is_node_ready(self.folders.admin_kubeconfig, NODE_NAME)
            print(
                f"node {NODE_NAME!r} is {'ready' if node_ready else 'NOT ready'}; its pods are at {plan.addresses.pods}"
            )
        print(f"export KUBECONFIG={self.folders.admin_kubeconfig}")
        return 0 if ready else 1

    def kubeconfig(self) -> Path:
        self.running()
        return self.folders.admin_kubeconfig

    def running(self) -> Isolation:
        isolation = find_isolation(plan_file(self.folders))
        if isolation is None:
            raise ClusterError(f"cluster {self.folders.name!r} is down: `up` starts it")
        return isolation

    def load(self, archive: Path) -> None:
        """Import an image archive into the node."""
        ran = self._import(archive)
        if LAYER_IS_GONE.search(ran.stderr):
            # containerd was removing a replaced image, and with it a layer that the new image has too.
            ran = self._import(archive)
        if ran.returncode:
            raise ClusterError(f"cannot import {archive}: {ran.stderr.strip() or ran.stdout.strip()}")
        say(ran.stdout.strip())

    def _import(self, archive: Path) -> "subprocess.CompletedProcess[str]":
        socket = f"{self.running().root}{SOCKET}"
        command = ["ctr", "-a", socket, "-n", IMAGE_NAMESPACE, "images", "import", str(archive)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def simulate_node(self, termination_message: str) -> None:
        self.simulate_pods(simulated_nodes.succeeding_pods(termination_message))

    def simulate_pods(self, stages: str) -> None:
        """Start the simulated node with these stages of a pod, and wait until it is Ready."""
        isolation, plan = self.running(), self.running_plan()
        simulated_nodes.simulate_node(self.folders, isolation.enter, plan.addresses.simulated_pods, stages)

    def volume(self, name: str) -> Path:
        return self.folders.make_volume(name)

    def limit_volume(self, name: str, megabytes: int) -> None:
        mount_small_disk(self.running().enter, self.volume(name), megabytes)


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return f"{lines[-1]} (see the logs in {log.parent})" if lines else f"see the logs in {log.parent}"
