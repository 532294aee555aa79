"""The disturbed cluster: its programs, two replicas of the operator, the proxy before them, and the users' runs."""

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from burst.client import connect, install_definition
from burst.contenders import OURS
from scale.simulated_cluster import add_namespaces, add_nodes

from chaos import proxy, stories
from chaos.proxy import Proxy
from cluster.clusters.compiled_cluster import CompiledCluster
from cluster.folders import ClusterFolders
from cluster.host.processes import processes_where
from operator_process import OperatorProcess

NODES = 6
NAMESPACES = tuple(f"team-{number}" for number in range(4))
RUNS = f"/apis/{OURS.resource.api_version}/{OURS.resource.plural}"
JOBS, PODS, LEASES = "/apis/batch/v1/jobs", "/api/v1/pods", "/apis/coordination.k8s.io/v1/leases"
REPLICAS = ("a", "b")
_FINAL = ("Succeeded", "Failed")
#: Simulated pods answer no question about progress.
_SETTINGS = {"OPERATOR_PROGRESS_SECONDS": "600", "OPERATOR_RESYNC_SECONDS": "60", "OPERATOR_WATCH_SECONDS": "20"}
_AWAY = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass
class Stage:
    """All that faults act on. `chance` decides what they do."""

    cluster: CompiledCluster
    client: aiohttp.ClientSession
    proxy: Proxy
    chance: random.Random
    folder: Path
    replicas: dict[str, OperatorProcess] = field(default_factory=dict)
    #: Replicas that a fault has ended, or has yet to start.
    held_down: set[str] = field(default_factory=set)
    #: Pods and Jobs that somebody has deleted by hand, and nodes that were lost, by UID or name.
    by_hand: set[str] = field(default_factory=set)
    #: Seconds until another replica led, by what had become of the leader.
    fail_overs: list[tuple[str, float]] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print what happens, with the second in which it does."""
        print(f"{time.monotonic() - self.began_at:7.1f} s  {text}", flush=True)

    def start_replica(self, name: str) -> None:
        """Start a replica of the operator, or start it anew."""
        self.replicas[name] = OperatorProcess(self.proxy.kubeconfig, self.folder, name=name, environment=_SETTINGS)
        self.held_down.discard(name)

    async def leader(self) -> str | None:
        """Return the replica that leads, or None where none does."""
        for name, replica in self.replicas.items():
            if name not in self.held_down and await asyncio.to_thread(replica.acts):
                return name
        return None

    async def keep_replicas(self) -> None:
        """Start each replica anew that ended by itself, as a kubelet does. Until cancelled."""
        while True:
            for name, replica in self.replicas.items():
                if name not in self.held_down and replica.process.poll() is not None:
                    self.start_replica(name)
            await asyncio.sleep(1)

    def process_of(self, program: str) -> int | None:
        """Return the process of a program of the control plane, or None while it is away."""
        state = str(self.cluster.folders.state)

        def is_it(command: list[str]) -> bool:
            return command[:1] != [] and command[0].endswith(f"/{program}") and any(state in each for each in command)

        return next(iter(processes_where(is_it)), None)

    async def ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Ask the API server as a user does, and ask again while it is away. Return an empty object for a refusal."""
        while True:
            try:
                async with self.client.request(method, path, raise_for_status=False, **arguments) as answer:
                    if answer.status < 500 and answer.status != 429:
                        return json.loads(await answer.read()) if answer.ok else {}
            except _AWAY:
                pass
            await asyncio.sleep(0.5)

    async def listed(self, path: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        items: list[dict[str, Any]] = (await self.ask("GET", path)).get("items", [])
        return items

    async def create_runs(self, count: int, seconds: float) -> None:
        """Create so many runs, evenly over that time."""
        for number in range(count):
            namespace = NAMESPACES[number % len(NAMESPACES)]
            await self.create_run(stories.story_number(number).to_object(namespace, number))
            await asyncio.sleep(seconds / count)

    async def create_run(self, run: dict[str, Any]) -> None:
        """Create a run."""
        path = f"/apis/{OURS.resource.api_version}/namespaces/{run['metadata']['namespace']}/{OURS.resource.plural}"
        await self.ask("POST", path, json=run)

    async def until_over(self, runs: int, seconds: float) -> list[dict[str, Any]]:
        """Return all runs once there are so many and each is over, or as they are after so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            found = await self.listed(RUNS)
            left = [run for run in found if run["status"].get("state") not in _FINAL]
            if (len(found) >= runs and not left) or time.monotonic() > deadline:
                return found
            self.say(f"{len(found)} of {runs} runs, {len(left)} of them not over yet")
            await asyncio.sleep(5)


@asynccontextmanager
async def set_stage(folder: Path, chance: random.Random) -> AsyncIterator[Stage]:
    """Start the cluster, the proxy and the replicas. At the end of the context, end all of them."""
    cluster = CompiledCluster(ClusterFolders(f"chaos-{os.getpid()}"))
    try:
        await asyncio.to_thread(cluster.up, with_node=False, disturbed=True)
        await asyncio.to_thread(cluster.simulate_pods, stories.pod_stages())
        (folder / "runtimes.yaml").write_text(json.dumps(stories.runtimes()), encoding="utf-8")
        kubeconfig = cluster.kubeconfig()
        async with connect(kubeconfig) as client, proxy.disturbing(kubeconfig, folder, chance) as disturbed:
            await install_definition(client, OURS.resource)
            await add_namespaces(client, NAMESPACES)
            await add_nodes(client, NODES)
            stage = Stage(cluster, client, disturbed, chance, folder)
            try:
                await _with_replicas(stage)
                yield stage
            finally:
                for replica in stage.replicas.values():
                    _end(replica.process)
    finally:
        await asyncio.to_thread(cluster.down, purge=True)


async def _with_replicas(stage: Stage) -> None:
    for name in REPLICAS:
        stage.start_replica(name)
    await until(stage.leader, "a replica leads", 120)


async def until(look: Callable[[], Awaitable[Any]], what: str, seconds: float) -> None:
    """Wait until there is something to see. SystemExit says what was waited for."""
    deadline = time.monotonic() + seconds
    while not await look():
        if time.monotonic() > deadline:
            raise SystemExit(f"not seen in {seconds:g} s: {what}")
        await asyncio.sleep(0.1)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.wait()
