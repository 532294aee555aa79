"""A burst of runs from creation to end on simulated nodes: time, processor, memory, and requests; then a start anew."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from burst.client import connect, install_definition
from burst.contenders import OURS
from scale.operator_process import run_operator
from scale.simulated_cluster import SimulatedCluster, add_namespaces, add_nodes, peak_mebibytes, post_all
from scale.situations import SIMULATED_RUNTIMES, SIMULATED_SPEC

_SECONDS_AT_REST = 10


@dataclass(frozen=True)
class Shape:
    """How large the cluster is, and how many runs are made in it."""

    runs: int
    nodes: int
    namespaces: int


@dataclass(frozen=True)
class Sizing:
    """What one burst took. Programs are those of the control plane and `operator`."""

    shape: Shape
    seconds_to_create: float
    seconds_to_jobs: float
    seconds_to_ends: float
    #: Until the last end, with what each takes at rest, where the nodes renew their Leases.
    cpu_seconds: dict[str, float]
    cores_at_rest: dict[str, float]
    peak_mebibytes: dict[str, float]
    database_mebibytes: float
    #: Of the operator, by verb and resource.
    requests: dict[str, int]
    #: A second operator, which finds all runs finished: until it has reconciled each, and what it writes.
    start_seconds: float
    start_cpu_seconds: float
    start_mebibytes: float
    start_writes: int


async def measure_burst(plane: SimulatedCluster, shape: Shape) -> Sizing:
    """Create all runs at once and follow them to their ends. Then start the operator anew."""
    async with connect(plane.kubeconfig) as client:
        await install_definition(client, OURS.resource)
        namespaces = [f"speech-{number:03d}" for number in range(shape.namespaces)]
        await add_namespaces(client, namespaces)
        await add_nodes(client, shape.nodes)
        with tempfile.TemporaryDirectory() as folder:
            return await _measure(plane, client, shape, namespaces, Path(folder))


async def _measure(
    plane: SimulatedCluster, client: aiohttp.ClientSession, shape: Shape, namespaces: list[str], folder: Path
) -> Sizing:
    async with run_operator(folder, plane.kubeconfig, SIMULATED_RUNTIMES) as operator:
        await operator.until_ready()
        before, own_before, begun = plane.cpu_seconds(), operator.cpu_seconds(), time.monotonic()
        creating = asyncio.create_task(_create_runs(client, shape, namespaces))
        await operator.until_figure("wft_creation_to_job_seconds_count", shape.runs)
        to_jobs = time.monotonic() - begun
        await operator.until_figure('wft_runs{state="Succeeded"}', shape.runs)
        to_ends = time.monotonic() - begun
        used = {name: cpu - before[name] for name, cpu in plane.cpu_seconds().items()}
        peaks, requests = plane.peak_mebibytes(), await operator.requests()
        own, own_peak = operator.cpu_seconds() - own_before, peak_mebibytes(operator.process.pid)
        to_create = await creating
        at_rest = await _cores_at_rest(plane)
    async with run_operator(folder, plane.kubeconfig, SIMULATED_RUNTIMES) as operator:
        await operator.until_figure('wft_reconciles_total{outcome="done"}', shape.runs)
        to_start = time.monotonic() - operator.begun_at
        return Sizing(
            shape=shape,
            seconds_to_create=to_create,
            seconds_to_jobs=to_jobs,
            seconds_to_ends=to_ends,
            cpu_seconds={**used, "operator": own},
            cores_at_rest=at_rest,
            peak_mebibytes={**peaks, "operator": own_peak},
            database_mebibytes=plane.database_mebibytes(),
            requests=requests,
            start_seconds=to_start,
            start_cpu_seconds=operator.cpu_seconds(),
            start_mebibytes=peak_mebibytes(operator.process.pid),
            start_writes=sum((await operator.requests(only_writes=True)).values()),
        )


async def _cores_at_rest(plane: SimulatedCluster) -> dict[str, float]:
    await asyncio.sleep(_SECONDS_AT_REST)
    before = plane.cpu_seconds()
    await asyncio.sleep(_SECONDS_AT_REST)
    return {name: (cpu - before[name]) / _SECONDS_AT_REST for name, cpu in plane.cpu_seconds().items()}


async def _create_runs(client: aiohttp.ClientSession, shape: Shape, namespaces: list[str]) -> float:
    """Return the seconds until all are created."""
    begun = time.monotonic()
    await post_all(client, _runs(shape, namespaces))
    return time.monotonic() - begun


def _runs(shape: Shape, namespaces: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    resource = OURS.resource
    for number in range(shape.runs):
        namespace = namespaces[number % len(namespaces)]
        head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": f"run-{number:05d}"}}
        yield f"/apis/{resource.api_version}/namespaces/{namespace}/{resource.plural}", {**head, "spec": SIMULATED_SPEC}
