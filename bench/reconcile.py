"""Runs per second from creation to Job, side by side: this operator and a classic kopf operator that does the same.

    make bench-operator                     # or: .venv/bin/python bench/reconcile.py --runs 1000 --rounds 3

Each round takes a fresh control plane per operator, in turn, so that both meet the same machine. Printed per operator:
median of runs per second (first POST sent to last Job seen), latency from a run's POST to its Job, resident memory, and
CPU seconds; then the ratio of this operator to the control.
"""

import argparse
import asyncio
import base64
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import source_roots  # noqa: F401 -- finds the packages below
import yaml

from whisper_finetune_operator.next_steps import Phase, Pinned
from whisper_finetune_operator.planning import manifest, plan
from whisper_finetune_operator.planning.plan import TrainingPlan
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.runs import Run

ROOT = Path(__file__).parent.parent
NAMESPACE = "default"
RUNS = f"/apis/whisperfinetune.dev/v1alpha1/namespaces/{NAMESPACE}/whisperfinetunes"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
CONNECTIONS = 32
PAGES_PER_MEBIBYTE = 256
TIMEOUT_SECONDS = 600
RUNTIMES = {"defaultRuntime": "cpu", "runtimes": [{"name": "cpu", "accelerator": "cpu", "image": "localhost/none:1"}]}
SPEC = {
    "model": "openai/whisper-base",
    "language": "it",
    "dataset": {"source": "pvc://speech/it"},
    "output": {"uri": "pvc://speech/runs"},
}


@dataclass(frozen=True)
class Measurement:
    """One burst."""

    runs_per_second: float
    median_seconds: float
    p99_seconds: float
    memory_mebibytes: int
    cpu_seconds: float


@contextmanager
def control_plane(name: str) -> Iterator[Path]:
    """Start a fresh control plane and yield its kubeconfig."""
    program = [sys.executable, str(ROOT / "local" / "cluster")]
    subprocess.run([*program, "up", "--no-node", "--name", name], check=True, capture_output=True)
    printed = subprocess.run([*program, "kubeconfig", "--name", name], check=True, capture_output=True, text=True)
    try:
        yield Path(printed.stdout.strip())
    finally:
        subprocess.run([*program, "down", "--purge", "--name", name], check=True, capture_output=True)


def job_template() -> dict[str, Any]:
    """Return the Job that this operator makes of a run of the burst, so that the control makes the same."""
    metadata = {
        "name": "template",
        "namespace": NAMESPACE,
        "uid": "00000000-0000-4000-8000-000000000000",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    run = Run.from_object({"metadata": metadata, "spec": SPEC})
    spec = plan.read_spec(run)
    assert not isinstance(spec, Phase), spec
    runtimes = Runtimes.model_validate(RUNTIMES)
    planned = plan.make_plan(run, spec, Pinned(runtimes.default_runtime), runtimes)
    assert isinstance(planned, TrainingPlan), planned
    return manifest.build_workload(planned, failed_before=0)


@contextmanager
def operator(kind: str, kubeconfig: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of the two operators until the burst is over."""
    runtimes, template = folder / "runtimes.yaml", folder / "job.yaml"
    runtimes.write_text(yaml.safe_dump(RUNTIMES), encoding="utf-8")
    template.write_text(yaml.safe_dump(job_template()), encoding="utf-8")
    command = {
        "ours": ["-m", "whisper_finetune_operator", "--runtimes", str(runtimes), "--no-leader-election"],
        "classic": [
            "-m",
            "kopf",
            "run",
            "--all-namespaces",
            "--standalone",
            str(ROOT / "bench" / "classic_operator.py"),
        ],
    }[kind]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}/crds:{ROOT}/operator",
        "KUBECONFIG": str(kubeconfig),
        "JOB_TEMPLATE": str(template),
    }
    with (folder / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def session(kubeconfig: Path) -> aiohttp.ClientSession:
    """Return a client of the API server with the admin's token."""
    found = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    return aiohttp.ClientSession(
        cluster["server"],
        connector=aiohttp.TCPConnector(limit=CONNECTIONS + 2, ssl=context),
        headers={"Authorization": f"Bearer {user['token']}"},
        timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS),
        read_bufsize=2**22,
    )


async def jobs_seen(client: aiohttp.ClientSession, count: int, seen: dict[str, float]) -> None:
    """Watch Jobs until `count` owners have one; note when each was seen."""
    async with client.get(JOBS, params={"limit": 1}) as answer:
        version = (await answer.json())["metadata"]["resourceVersion"]
    while len(seen) < count:  # the server ends a watch that does not keep up: go on from the last event
        async with client.get(JOBS, params={"watch": "1", "resourceVersion": version}) as answer:
            async for line in answer.content:
                event = json.loads(line)
                metadata = event["object"]["metadata"]
                version = metadata["resourceVersion"]
                if event["type"] == "ADDED":
                    seen.setdefault(metadata["ownerReferences"][0]["name"], time.monotonic())
                if len(seen) >= count:
                    return


async def create_runs(client: aiohttp.ClientSession, names: list[str]) -> dict[str, float]:
    """Create runs by that many connections at once; return when each was sent."""
    left, sent = iter(names), {}

    async def worker() -> None:
        for name in left:
            body = {"apiVersion": "whisperfinetune.dev/v1alpha1", "kind": "WhisperFineTune", "spec": SPEC}
            sent[name] = time.monotonic()
            async with client.post(RUNS, json={**body, "metadata": {"name": name}}) as answer:
                answer.raise_for_status()

    await asyncio.gather(*[worker() for _ in range(CONNECTIONS)])
    return sent


async def burst(client: aiohttp.ClientSession, prefix: str, count: int) -> tuple[float, list[float]]:
    """Return (seconds from the first POST to the last Job, latency of each run in seconds, sorted)."""
    seen: dict[str, float] = {}
    watch = asyncio.create_task(jobs_seen(client, count, seen))
    await asyncio.sleep(1)
    sent = await create_runs(client, [f"{prefix}-{index:04d}" for index in range(count)])
    await asyncio.wait_for(watch, TIMEOUT_SECONDS)
    return max(seen.values()) - min(sent.values()), sorted(seen[name] - sent[name] for name in sent)


def resources(pid: int) -> tuple[int, float]:
    """Return (resident MiB, CPU seconds) of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return pages // PAGES_PER_MEBIBYTE, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measured(kubeconfig: Path, pid: int, count: int) -> Measurement:
    """Warm up with three runs, then measure one burst."""
    async with session(kubeconfig) as client:
        await burst(client, "warm", 3)
        _, before = resources(pid)
        seconds, latencies = await burst(client, "run", count)
        memory, after = resources(pid)
    return Measurement(
        count / seconds,
        statistics.median(latencies),
        latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))],
        memory,
        after - before,
    )


async def install(kubeconfig: Path) -> None:
    """Install the CRD and wait until it is served."""
    definition = yaml.safe_load((ROOT / "crds" / "whisperfinetunes.yaml").read_text(encoding="utf-8"))
    async with session(kubeconfig) as client:
        async with client.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=definition) as answer:
            answer.raise_for_status()
        for _ in range(100):
            async with client.get(RUNS) as answer:
                if answer.ok:
                    return
            await asyncio.sleep(0.1)
    raise SystemExit("the API server did not serve the CRD within 10 s")


def measure(kind: str, count: int) -> Measurement:
    """Return one measurement on a control plane of its own."""
    with control_plane(f"bench-{os.getpid()}") as kubeconfig, tempfile.TemporaryDirectory() as folder:
        asyncio.run(install(kubeconfig))
        with operator(kind, kubeconfig, Path(folder)) as process:
            return asyncio.run(measured(kubeconfig, process.pid, count))


def report(kind: str, measurements: list[Measurement]) -> None:
    """Print the medians of one operator."""
    median: dict[str, Any] = {
        field: statistics.median(getattr(found, field) for found in measurements)
        for field in Measurement.__annotations__
    }
    rates = sorted(found.runs_per_second for found in measurements)
    print(
        f"{kind:8} {median['runs_per_second']:6.0f} runs/s ({rates[0]:.0f} to {rates[-1]:.0f})  "
        f"POST to Job p50 {median['median_seconds']:.2f} s, p99 {median['p99_seconds']:.2f} s  "
        f"{median['memory_mebibytes']:.0f} MiB  {median['cpu_seconds']:.1f} CPU s",
        flush=True,
    )


def main() -> None:
    """Measure both in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found: dict[str, list[Measurement]] = {"ours": [], "classic": []}
    for number in range(arguments.rounds):
        for kind, measurements in found.items():
            measurements.append(measure(kind, arguments.runs))
            print(f"round {number + 1}, {kind}: {measurements[-1]}", file=sys.stderr, flush=True)
    for kind, measurements in found.items():
        report(kind, measurements)
    ours, classic = (statistics.median(item.runs_per_second for item in found[kind]) for kind in ("ours", "classic"))
    print(f"ratio    {ours / classic:.2f} (ours to classic, runs per second)")


if __name__ == "__main__":
    main()
