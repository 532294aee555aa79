"""Serve /healthz, /readyz and /metrics over HTTP: whether the operator lives, whether it can work, and its figures.

Anybody in the cluster's network may ask, so figures are computed seldom however often they are asked for, and
connections are bounded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from whisper_finetune_operator.observability.metrics import Metrics

#: Returns in one line what is wrong, or None where nothing is.
Check = Callable[[], str | None]

#: Beyond this number the oldest connection is closed. The kubelet's is the newest, and is answered at once.
CONNECTIONS_MAX = 128
#: So many connections are accepted before any of them is answered.
_BACKLOG = 32
#: The largest share of the time in which figures are computed. Meanwhile everybody gets the last ones.
FIGURES_SHARE_OF_TIME = 0.05


class WatchAges:
    """Knows when each watch last gave a sign of life: when it was opened, or brought an event."""

    def __init__(self, stale_seconds: float) -> None:
        self._stale_seconds = stale_seconds
        self._seen: dict[str, float] = {}

    def expect(self, watches: Iterable[str]) -> None:
        """Expect signs of life of these watches from now on."""
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

    def check_of_life(self, answering_since: float | None, answered_at: float) -> str | None:
        """Return what a restart would repair: a watch that is dead although the API server answers all the time."""
        now = asyncio.get_running_loop().time()
        answers_now = now - answered_at < self._stale_seconds / 2
        answers_long = answering_since is not None and now - answering_since > self._stale_seconds
        return self.check() if answers_now and answers_long else None


class HealthServer:
    """Listens until it is closed.

    `live` has checks of what a restart would repair, and `ready` of what the operator waits for. Each answer is 200, or
    503 with a line for each thing that is wrong.
    """

    def __init__(self, live: Iterable[Check], ready: Iterable[Check], metrics: Metrics) -> None:
        self._metrics = metrics
        self._figures = b""
        self._figures_until = float("-inf")
        application = web.Application()
        routes = [web.get("/healthz", _answering(live)), web.get("/readyz", _answering(ready))]
        application.add_routes([*routes, web.get("/metrics", self._show_figures)])
        self._runner = web.AppRunner(application, access_log=None)

    async def listen(self, port: int) -> None:
        """Listen on the port, of IPv4 and IPv6. Raises OSError where it is taken."""
        await self._runner.setup()
        connect = partial(_connect, self._runner)
        self._listener = await asyncio.get_running_loop().create_server(connect, None, port, backlog=_BACKLOG)

    async def close(self) -> None:
        self._listener.close()
        await self._runner.cleanup()

    async def _show_figures(self, _: web.Request) -> web.Response:
        clock = asyncio.get_running_loop().time
        began = clock()
        if began >= self._figures_until:
            self._figures = self._metrics.text()
            self._figures_until = began + (clock() - began) / FIGURES_SHARE_OF_TIME
        return web.Response(body=self._figures, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _connect(runner: web.AppRunner) -> asyncio.Protocol:
    """Return the protocol for one more client."""
    server = runner.server
    if server is None:
        raise RuntimeError("it listens before it is set up")
    for oldest in server.connections[: -(CONNECTIONS_MAX - 1)]:
        oldest.force_close()
    return server()


def _answering(checks: Iterable[Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    checks = tuple(checks)

    async def answer(_: web.Request) -> web.Response:
        wrong = [problem for check in checks if (problem := check())]
        return web.Response(status=503 if wrong else 200, text="\n".join(wrong) or "ok")

    return answer
