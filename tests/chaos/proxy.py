"""A proxy between operator and API server that loses, delays, refuses and repeats, as a test tells it."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web
from burst.client import connect

from object_store.server_process import free_port

_HOP_BY_HOP = {"host", "connection", "transfer-encoding", "content-length", "keep-alive", "content-encoding"}
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
#: No reading is answered with it.
_CONFLICT = 409


@dataclass
class Trouble:
    """What befalls requests now. Each share is of a hundred requests that are no watches."""

    #: Answers in the API server's place, with one of the codes.
    refused: int = 0
    codes: tuple[int, ...] = (429, 500, 503)
    #: The API server gets the request, and its answer is lost.
    lost_answers: int = 0
    #: So long a request waits before it goes on.
    delay_seconds: float = 0.0
    #: Who asks is not known: a token has expired.
    unauthorized: bool = False


@dataclass
class Proxy:
    """A proxy that runs. Its trouble may be replaced at any time."""

    kubeconfig: Path
    chance: random.Random
    trouble: Trouble = field(default_factory=Trouble)
    _watches: set[asyncio.Task[None]] = field(default_factory=set)

    def cut_watches(self) -> None:
        """Cut each watch in the middle."""
        for watch in self._watches:
            watch.cancel()

    async def serve(self, request: web.Request, upstream: aiohttp.ClientSession) -> web.StreamResponse:
        """Answer one request, or let the API server do so."""
        if "watch" in request.query:
            return await self._watch(request, upstream)
        trouble, roll = self.trouble, self.chance.random() * 100
        if trouble.delay_seconds:
            await asyncio.sleep(trouble.delay_seconds * self.chance.random())
        if trouble.unauthorized:
            return web.json_response({"kind": "Status", "code": 401, "reason": "Unauthorized"}, status=401)
        if roll < trouble.refused and (request.method in _WRITES or _CONFLICT not in trouble.codes):
            return _refusal(self.chance.choice(trouble.codes))
        answer = await _forwarded(request, upstream)
        if request.method in _WRITES and trouble.refused <= roll < trouble.refused + trouble.lost_answers:
            _cut(request)
        return answer

    async def _watch(self, request: web.Request, upstream: aiohttp.ClientSession) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            return await _streamed(request, upstream)
        except asyncio.CancelledError:
            _cut(request)
            raise
        finally:
            self._watches.discard(task)


@asynccontextmanager
async def disturbing(kubeconfig: Path, folder: Path, chance: random.Random) -> AsyncIterator[Proxy]:
    """Run a proxy on the loopback until the end of the context."""
    port = free_port()
    made = Proxy(_write_kubeconfig(kubeconfig, folder, port), chance)
    async with connect(kubeconfig) as upstream:

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await made.serve(request, upstream)
            except (aiohttp.ClientError, OSError, TimeoutError):
                # The API server is away, and so is its answer.
                _cut(request)
                return web.Response(status=502)

        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield made
        finally:
            await runner.cleanup()


def _write_kubeconfig(kubeconfig: Path, folder: Path, port: int) -> Path:
    """Write the kubeconfig that leads to the proxy, and return its path. The token is the same."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port}"}
    written = folder / "proxied.kubeconfig"
    written.write_text(yaml.safe_dump(config), encoding="utf-8")
    return written


def _refusal(code: int) -> web.Response:
    headers = {"Retry-After": "1"} if code == 429 else {}
    reason = {429: "TooManyRequests", 409: "Conflict"}.get(code, "InternalError")
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": "chaos",
    }
    return web.json_response(body, status=code, headers=headers)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _forwarded(request: web.Request, upstream: aiohttp.ClientSession) -> web.Response:
    async with upstream.request(
        request.method,
        request.rel_url,
        data=await request.read() or None,
        headers=_passed_on(request.headers.items()),
        raise_for_status=False,
    ) as answer:
        body = await answer.read()
        return web.Response(status=answer.status, body=body, headers=_passed_on(answer.headers.items()))


async def _streamed(request: web.Request, upstream: aiohttp.ClientSession) -> web.StreamResponse:
    async with upstream.get(
        request.rel_url, headers=_passed_on(request.headers.items()), raise_for_status=False
    ) as answer:
        response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers.items()))
        await response.prepare(request)
        async for part in answer.content.iter_any():
            await response.write(part)
        return response


def _passed_on(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in _HOP_BY_HOP}
