"""A Kubernetes in a Docker container, made by kind."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster.clusters import simulated_nodes
from cluster.components.addresses import FOR_BENCHMARKS
from cluster.faults import ClusterError
from cluster.folders import ClusterFolders
from cluster.host.small_disk import mount_small_disk
from cluster.narration import say, step
from cluster.programs import binaries

IMAGE_IN_SOURCE = re.compile(r'^const Image = "(\S+)"', re.MULTILINE)


@dataclass(frozen=True)
class KindCluster:
    folders: ClusterFolders

    def up(self, *, with_node: bool) -> None:
        """Start it. kind always makes a node, so `with_node` changes nothing."""
        del with_node
        require_docker()
        if self.is_up():
            say(f"kind cluster {self.folders.name!r} is up already")
            return
        self.folders.volumes.mkdir(parents=True, exist_ok=True)
        self.folders.logs.mkdir(parents=True, exist_ok=True)
        config = self.folders.state / "kind.json"
        config.write_text(json.dumps(kind_config(self.folders.volumes)))
        with step(f"kind is making cluster {self.folders.name!r}"):
            self.kind("delete", "cluster")  # a stopped or half-made predecessor
            self.kind(
                "create",
                "cluster",
                f"--config={config}",
                f"--kubeconfig={self.folders.admin_kubeconfig}",
                "--wait=180s",
            )

    def is_up(self) -> bool:
        inspect = ["docker", "inspect", "--format={{.State.Running}}", f"{self.folders.name}-control-plane"]
        running = subprocess.run(inspect, check=False, capture_output=True, text=True).stdout.strip() == "true"
        return running and self.folders.admin_kubeconfig.exists()

    def down(self, *, purge: bool) -> None:
        require_docker()
        with step("ending the cluster"):
            simulated_nodes.stop_simulation(self.folders)
            self.kind("delete", "cluster")
            self.folders.admin_kubeconfig.unlink(missing_ok=True)
            if purge:
                shutil.rmtree(self.folders.state)

    def status(self) -> int:
        up = self.is_up()
        print(f"kind cluster {self.folders.name!r} is {'up' if up else 'down'}")
        if up:
            print(f"export KUBECONFIG={self.folders.admin_kubeconfig}")
        return 0 if up else 1

    def kubeconfig(self) -> Path:
        if not self.is_up():
            raise ClusterError(f"kind cluster {self.folders.name!r} is down: `up` starts it")
        return self.folders.admin_kubeconfig

    def load(self, archive: Path) -> None:
        self.kind("load", "image-archive", str(archive))

    def volume(self, name: str) -> Path:
        """Return the folder, which has the same path on the host and in the node's container (see kind_config)."""
        return self.folders.make_volume(name)

    def limit_volume(self, name: str, megabytes: int) -> None:
        node = f"{self.folders.name}-control-plane"
        mount_small_disk(["docker", "exec", node], self.volume(name), megabytes)

    def simulate_node(self, termination_message: str) -> None:
        self.kubeconfig()
        simulated_nodes.simulate_node(
            self.folders, [], FOR_BENCHMARKS, simulated_nodes.succeeding_pods(termination_message)
        )

    def kind(self, *arguments: str) -> None:
        installed = shutil.which("kind") or str(binaries.program("kind"))
        command = [installed, *arguments, f"--name={self.folders.name}"]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        if ran.returncode:
            raise ClusterError(f"`{' '.join(command)}` failed: {ran.stderr.strip()}")


def kind_config(volumes: Path) -> dict[str, object]:
    mounts = [{"hostPath": str(volumes), "containerPath": str(volumes)}]
    nodes = [{"role": "control-plane", "extraMounts": mounts}]
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}


def docker_problem() -> str:
    """Return why there is no Docker engine to use. The text is empty where there is one."""
    if not shutil.which("docker"):
        return "no `docker` on PATH"
    version = ["docker", "version", "--format={{.Server.Version}}"]
    ran = subprocess.run(version, check=False, capture_output=True, text=True)
    return ran.stderr.strip().splitlines()[-1] if ran.returncode else ""


def require_docker() -> None:
    if problem := docker_problem():
        raise ClusterError(f"CLUSTER=kind needs a Docker engine ({problem}): start it, or use CLUSTER=compiled")


def can_use_kind() -> bool:
    """Return whether Docker is there, and has kind's node image or can pull it."""
    if docker_problem():
        return False
    image = node_image((binaries.compiled(binaries.KIND) / "node-image.go").read_text())
    if not subprocess.run(["docker", "image", "inspect", image], check=False, capture_output=True).returncode:
        return True
    with step(f"pulling {image}"):
        pulled = subprocess.run(["docker", "pull", "--quiet", image], check=False, capture_output=True, text=True)
    if pulled.returncode:
        say(f"Docker cannot pull kind's node image ({pulled.stderr.strip()}), so the cluster is compiled")
    return not pulled.returncode


def node_image(source: str) -> str:
    """Return the node image that kind uses, from the Go file that names it."""
    found = IMAGE_IN_SOURCE.search(source)
    if not found:
        raise ClusterError(
            "kind's source does not name its node image where it did: set CLUSTER=kind or CLUSTER=compiled"
        )
    return found[1]
