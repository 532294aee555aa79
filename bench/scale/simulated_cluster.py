"""A control plane whose pods run on simulated nodes and succeed, and what its processes use."""

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from burst.control_plane import cpu_seconds
from scale.situations import ENDING

from cluster.clusters.compiled_cluster import CompiledCluster
from cluster.clusters.simulated_nodes import SIMULATION
from cluster.folders import ClusterFolders
from cluster.host.processes import processes_where

PROGRAMS = ("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kwok")
CONNECTIONS = 32
_PODS_OF_A_NODE = "110"
_SECONDS_TO_PREPARE = 300
_FIRST_NODE = "kwok-0"


@dataclass(frozen=True)
class SimulatedCluster:
    """A control plane that is up, and the process of each of its programs."""

    kubeconfig: Path
    processes: Mapping[str, int]
    _etcd: Path

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor time of each program so far."""
        return {name: cpu_seconds(process) for name, process in self.processes.items()}

    def peak_mebibytes(self) -> dict[str, float]:
        """Return the most memory that each program has had."""
        return {name: peak_mebibytes(process) for name, process in self.processes.items()}

    def database_mebibytes(self) -> float:
        """Return the size of etcd's file. It does not shrink by itself."""
        return (self._etcd / "member" / "snap" / "db").stat().st_size / 2**20


@contextmanager
def simulated_cluster() -> Iterator[SimulatedCluster]:
    """Start a compiled control plane, and kwok. At the end of the context, remove it with all its files."""
    cluster = CompiledCluster(ClusterFolders(f"scale-{os.getpid()}"))
    try:
        cluster.up(with_node=False)
        cluster.simulate_node(ENDING)
        state = cluster.folders.state
        yield SimulatedCluster(
            cluster.kubeconfig(), {name: _process_of(name, state) for name in PROGRAMS}, state / "etcd"
        )
    finally:
        cluster.down(purge=True)


def peak_mebibytes(pid: int) -> float:
    """Return the most resident memory that a process has had, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10


async def add_nodes(client: aiohttp.ClientSession, count: int) -> None:
    """Add simulated nodes until there are so many, and wait until all are Ready."""
    made = yaml.safe_load((SIMULATION / "node.yaml").read_text(encoding="utf-8"))
    for sizes in made["status"].values():
        sizes["pods"] = _PODS_OF_A_NODE
    await post_all(client, (("/api/v1/nodes", _named(made, f"kwok-{number}")) for number in range(1, count)))
    await _until(client, "/api/v1/nodes", count, _is_ready)


async def add_namespaces(client: aiohttp.ClientSession, names: Iterable[str]) -> None:
    """Add namespaces, and wait until each has the service account that pods need."""
    names = list(names)
    bodies = ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names)
    await post_all(client, (("/api/v1/namespaces", body) for body in bodies))
    await _until(client, "/api/v1/serviceaccounts", len(names), lambda found: found["metadata"]["namespace"] in names)


async def post_all(client: aiohttp.ClientSession, objects: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Create the objects, each given with the path of its kind, over all connections at once."""
    left = iter(objects)

    async def post_next() -> None:
        for path, body in left:
            async with client.post(path, json=body):
                pass

    await asyncio.gather(*(post_next() for _ in range(CONNECTIONS)))


async def _until(client: aiohttp.ClientSession, path: str, count: int, is_there: Any) -> None:
    async with asyncio.timeout(_SECONDS_TO_PREPARE):
        while True:
            async with client.get(path) as answer:
                found = await answer.json()
            if sum(map(is_there, found["items"])) >= count:
                return
            await asyncio.sleep(1)


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _named(node: Mapping[str, Any], name: str) -> dict[str, Any]:
    labels = {**node["metadata"]["labels"], "kubernetes.io/hostname": name}
    return {**node, "metadata": {**node["metadata"], "name": name, "labels": labels}}


def _process_of(program: str, state: Path) -> int:
    def is_it(command: list[str]) -> bool:
        return any(str(state) in argument for argument in command) and command[0].endswith(f"/{program}")

    (found,) = processes_where(is_it)
    return found
