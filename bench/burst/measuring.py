"""What one burst of one contender costs: time, processor time of API server and operator, the operator's memory."""

import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from burst.client import Burst, connect, create_objects, install_definition, run_burst
from burst.contenders import Contender
from burst.control_plane import ControlPlane, busy_seconds, cpu_seconds, resident_mebibytes, wait_for_rest

_WARM_UP_RUNS = 3
_SECONDS_TO_START = 120
_SECONDS_TO_END = 30
_LOG = "operator.log"
_LOG_SHOWN = 4000


@dataclass(frozen=True)
class Patience:
    """Seconds after each burst that still count, and seconds to wait at most for a machine at rest."""

    settle_seconds: float
    quiet_seconds: float


@dataclass(frozen=True)
class Measurement:
    """The figures of one burst. Milliseconds are processor time per run."""

    contender: str
    runs: int
    jobs: int
    jobs_per_second: float
    p50_seconds: float
    p99_seconds: float
    status_p99_seconds: float
    create_seconds: float
    api_server_milliseconds: float
    #: To create the objects only, while no operator runs.
    api_server_create_milliseconds: float
    #: Until each run has its Job and a status. It is None where there is no operator.
    own_milliseconds: float | None
    settled_milliseconds: float | None
    resident_mebibytes: float | None
    #: How many cores of the whole machine were busy during the burst.
    busy_cores: float


@dataclass(frozen=True)
class _Usage:
    """The processor times up to one moment, in seconds."""

    at: float
    api_server: float
    own: float
    machine: float


@dataclass(frozen=True)
class _Watched:
    """A burst, with the processor times before it, at its end, and some seconds later."""

    burst: Burst
    before: _Usage
    at_end: _Usage
    settled: _Usage
    resident_mebibytes: float


async def measure_contender(
    contender: Contender, plane: ControlPlane, sizes: Sequence[int], patience: Patience
) -> list[Measurement]:
    """Return one measurement of each size, after a burst that warms everything up."""
    async with connect(plane.kubeconfig) as client:
        await install_definition(client, contender.resource)
        with tempfile.TemporaryDirectory() as folder, _operator(contender, plane.kubeconfig, Path(folder)) as own:
            await _warm_up(client, contender, Path(folder))
            watched = [await _watch_burst(client, contender, plane, own, size, patience) for size in sizes]
        create_milliseconds = await _cost_of_creating(client, contender, plane, max(sizes), patience)
    return [_measurement(contender, each, create_milliseconds, measures_own=own is not None) for each in watched]


@contextlib.contextmanager
def _operator(contender: Contender, kubeconfig: Path, folder: Path) -> Iterator[int | None]:
    """Run the contender's operator and yield its process. Yield None where the client does everything itself."""
    if contender.prepare is None:
        yield None
        return
    program = contender.prepare(kubeconfig, folder)
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(program.command, env=program.environment, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(_SECONDS_TO_END)


async def _warm_up(client: aiohttp.ClientSession, contender: Contender, folder: Path) -> None:
    """Wait until the operator has made its first Jobs. Where it makes none, its log says why."""
    try:
        async with asyncio.timeout(_SECONDS_TO_START):
            await run_burst(client, contender, "warm", _WARM_UP_RUNS)
    except TimeoutError:
        log = (folder / _LOG).read_text(encoding="utf-8", errors="replace")[-_LOG_SHOWN:]
        raise SystemExit(
            f"{contender.name} did not finish {_WARM_UP_RUNS} runs within {_SECONDS_TO_START} s:\n{log}"
        ) from None


async def _watch_burst(
    client: aiohttp.ClientSession,
    contender: Contender,
    plane: ControlPlane,
    own: int | None,
    size: int,
    patience: Patience,
) -> _Watched:
    wait_for_rest(patience.quiet_seconds)
    before = _usage(plane, own)
    burst = await run_burst(client, contender, f"n{size}", size)
    at_end = _usage(plane, own)
    await asyncio.sleep(patience.settle_seconds)
    return _Watched(burst, before, at_end, _usage(plane, own), resident_mebibytes(own) if own else 0.0)


async def _cost_of_creating(
    client: aiohttp.ClientSession, contender: Contender, plane: ControlPlane, count: int, patience: Patience
) -> float:
    """Return the API server's processor time for one object alone, in milliseconds."""
    wait_for_rest(patience.quiet_seconds)
    before = cpu_seconds(plane.api_server)
    await create_objects(client, contender, "alone", Burst(count))
    return 1000 * (cpu_seconds(plane.api_server) - before) / count


def _usage(plane: ControlPlane, own: int | None) -> _Usage:
    return _Usage(time.monotonic(), cpu_seconds(plane.api_server), cpu_seconds(own) if own else 0.0, busy_seconds())


def _measurement(
    contender: Contender, watched: _Watched, create_milliseconds: float, *, measures_own: bool
) -> Measurement:
    burst, before, at_end = watched.burst, watched.before, watched.at_end
    waits, status_waits = (_waits(burst, seen) for seen in (burst.jobs, burst.statuses))
    began, milliseconds = min(burst.sent.values()), 1000 / burst.count
    return Measurement(
        contender=contender.name,
        runs=burst.count,
        jobs=len(burst.jobs),
        jobs_per_second=len(burst.jobs) / (max(burst.jobs.values()) - began),
        p50_seconds=waits[len(waits) // 2],
        p99_seconds=waits[int(len(waits) * 0.99)],
        status_p99_seconds=status_waits[int(len(status_waits) * 0.99)],
        create_seconds=max(burst.created.values()) - began,
        api_server_milliseconds=milliseconds * (at_end.api_server - before.api_server),
        api_server_create_milliseconds=create_milliseconds,
        own_milliseconds=milliseconds * (at_end.own - before.own) if measures_own else None,
        settled_milliseconds=milliseconds * (watched.settled.own - before.own) if measures_own else None,
        resident_mebibytes=watched.resident_mebibytes if measures_own else None,
        busy_cores=(at_end.machine - before.machine) / (at_end.at - before.at),
    )


def _waits(burst: Burst, seen_at: Mapping[str, float]) -> list[float]:
    """Return the seconds from each run's POST until it was seen, in order."""
    return sorted(seen - burst.sent[name] for name, seen in seen_at.items())
