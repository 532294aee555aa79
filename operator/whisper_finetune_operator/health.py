"""Whether the operator works, and its figures, over HTTP: /healthz and /metrics."""

import asyncio
from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from whisper_finetune_operator.metrics import Metrics

#: Says in one line what is wrong; None where nothing is.
Check = Callable[[], str | None]


class WatchAges:
    """When each watch last gave a sign of life: it was opened, or brought an event."""

    def __init__(self, stale_seconds: float) -> None:
        self._stale_seconds = stale_seconds
        self._seen: dict[str, float] = {}

    def expect(self, watches: Iterable[str]) -> None:
        """From now on these watches must live."""
        for watch in watches:
            self.seen(watch)

    def seen(self, watch: str) -> None:
        self._seen[watch] = asyncio.get_running_loop().time()

    def oldest_seconds(self) -> float:
        """Return the age of the oldest sign of life."""
        return asyncio.get_running_loop().time() - min(self._seen.values()) if self._seen else 0.0

    def check(self) -> str | None:
        now = asyncio.get_running_loop().time()
        ages = {watch: now - seen for watch, seen in self._seen.items()}
        dead = [f"{watch} for {age:.0f} s" for watch, age in ages.items() if age > self._stale_seconds]
        return f"no sign of life from the watch of {', '.join(dead)}" if dead else None


async def serve(port: int, checks: Iterable[Check], metrics: Metrics) -> web.AppRunner:
    """Listen on the port; the answer to /healthz is 200 or 503 with a line for each thing that is wrong."""
    checks = tuple(checks)

    async def healthz(_: web.Request) -> web.Response:
        wrong = [problem for check in checks if (problem := check())]
        return web.Response(status=503 if wrong else 200, text="\n".join(wrong) or "ok")

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/metrics", figures)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
