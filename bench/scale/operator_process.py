"""The operator as a process of its own: started, asked, and measured by what the kernel says of it."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from burst.control_plane import cpu_seconds, resident_mebibytes

from object_store.server_process import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
_SECONDS_TO_START = 300
_SECONDS_TO_END = 30
_SECONDS_FOR_FIGURE = 3600.0
_LOOKED_EVERY_SECONDS = 0.5
_LOG_SHOWN = 4000


_READS = ("get", "list", "watch")
_REVIEWS = "selfsubjectaccessreviews"
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_COUNTER = "wft_api_requests_total{"


class OperatorProcess:
    """A replica that runs."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.begun_at = time.monotonic()
        self.process = process
        self._address = f"http://127.0.0.1:{port}"
        self._log = log

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)

    def resident_mebibytes(self) -> float:
        return resident_mebibytes(self.process.pid)

    async def ask(self, path: str) -> tuple[int, str]:
        """Return code and text of /readyz or /metrics. The code is 0 where nobody answers."""
        try:
            async with aiohttp.ClientSession() as client, client.get(self._address + path) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def figures(self) -> dict[str, float]:
        """Return every figure of /metrics by its name and labels. It is empty where nobody answers."""
        _, text = await self.ask("/metrics")
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    async def until_figure(self, name: str, count: int, *, seconds: float = _SECONDS_FOR_FIGURE) -> None:
        """Wait until a figure is so high. SystemExit shows the end of the log where it does not come to that."""
        deadline = time.monotonic() + seconds
        while (await self.figures()).get(name, 0.0) < count:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not come to {count}:\n{self.last_words()}")
            await asyncio.sleep(_LOOKED_EVERY_SECONDS)

    async def requests(self, *, only_writes: bool = False) -> dict[str, int]:
        """Return how many requests it has sent to the API server, by verb and resource, but for questions of rights."""
        counted: Counter[str] = Counter()
        for name, value in (await self.figures()).items():
            labels = dict(_LABEL.findall(name)) if name.startswith(_COUNTER) else {}
            counts = labels and labels["resource"] != _REVIEWS
            if counts and not (only_writes and labels["verb"] in _READS):
                counted[f"{labels['verb']} {labels['resource']}"] += int(value)
        return dict(counted)

    async def until_ready(self) -> None:
        """Wait until /readyz says that it can work. SystemExit shows the end of the log where it does not."""
        deadline = time.monotonic() + _SECONDS_TO_START
        while (await self.ask("/readyz"))[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the operator is not ready:\n{self.last_words()}")
            await asyncio.sleep(0.05)

    def last_words(self) -> str:
        """Return the end of the log."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_SHOWN:]


@asynccontextmanager
async def run_operator(
    folder: Path, kubeconfig: Path, runtimes: Mapping[str, Any], **environment: str
) -> AsyncIterator[OperatorProcess]:
    """Run one replica without an election until the end of the context."""
    (folder / "runtimes.yaml").write_text(json.dumps(runtimes), encoding="utf-8")
    port, log = free_port(), folder / "operator.log"
    arguments = ["--runtimes", str(folder / "runtimes.yaml"), "--kubeconfig", str(kubeconfig), "--no-leader-election"]
    settings = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}/crds:{ROOT}/operator",
        "OPERATOR_HEALTH_PORT": str(port),
        **environment,
    }
    with log.open("ab") as written:
        process = subprocess.Popen(  # noqa: ASYNC220 -- to start it takes a moment
            [sys.executable, "-m", "whisper_finetune_operator", *arguments],
            env=settings,
            stdout=written,
            stderr=written,
        )
    try:
        yield OperatorProcess(process, port, log)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, _SECONDS_TO_END)
