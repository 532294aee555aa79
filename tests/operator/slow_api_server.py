"""A small API server that is as slow, or as broken, as a test wants. The operator's process talks to it by HTTP.

It stores objects and answers like the real one where the operator reads. Where rules matter, the real one is used.
"""

import asyncio
import itertools
import json
import threading
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from api_server_double.discovery import describe_apis
from object_store.server_process import free_port

#: Answers a request in the server's stead; None: the server answers itself.
Trouble = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def run_of(number: int) -> dict[str, Any]:
    """Return a new run as a user makes it."""
    metadata = {
        "name": f"r{number}",
        "namespace": "speech",
        "uid": str(uuid.UUID(int=number + 1)),
        "generation": 1,
        "creationTimestamp": "2026-11-30T10:00:00Z",
    }
    spec = {
        "model": "openai/whisper-base",
        "language": "it",
        "dataset": {"source": "pvc://speech/it"},
        "output": {"uri": "pvc://speech/runs"},
    }
    kind = {"apiVersion": "whisperfinetune.dev/v1alpha1", "kind": "WhisperFineTune"}
    return {**kind, "metadata": metadata, "spec": spec, "status": {"observedGeneration": -1}}


class SlowApiServer:
    """Serves from a thread of its own until it is closed."""

    def __init__(self, folder: Path, trouble: Trouble, runs: int = 0) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._trouble = trouble
        self._versions = itertools.count(1000)
        for number in range(runs):
            self._keep("whisperfinetunes", run_of(number))
        self._port = free_port()
        self.kubeconfig = folder / "slow.kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(self._port)), encoding="utf-8")
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,))
        self._thread.start()
        assert ready.wait(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def of(self, plural: str) -> list[dict[str, Any]]:
        return [each for (kind, _), each in list(self.objects.items()) if kind == plural]

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.run_until_complete(_end_of_all(asyncio.all_tasks(self._loop)))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        plural = _plural_of(request)
        verb = "WATCH" if "watch" in request.query else request.method
        self.requests[verb, plural] += 1
        if answer := await self._trouble(request):
            return answer
        if "watch" in request.query:
            return await self._hold_open(request)
        if request.method == "GET":
            return self._show(request, plural)
        if request.method == "DELETE":
            return _status(404)
        return self._write(await request.json(), plural, request.method)

    async def _hold_open(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await asyncio.sleep(float(request.query.get("timeoutSeconds", 60)))
        return response

    def _show(self, request: web.Request, plural: str) -> web.Response:
        if request.path.startswith("/openapi/"):
            return _status(404)
        if plural in ("api", "apis", "v1", "v1alpha1"):
            return web.json_response(describe_apis(request.path))
        name = request.path.rpartition("/")[2]
        if name != plural:
            known = self.objects.get((plural, name))
            return web.json_response(known) if known else _status(404)
        return web.json_response({"metadata": {"resourceVersion": "5"}, "items": self.of(plural)})

    def _write(self, body: dict[str, Any], plural: str, method: str) -> web.Response:
        if plural == "selfsubjectaccessreviews":
            return web.json_response({"status": {"allowed": True}}, status=201)
        known = self.objects.get((plural, body["metadata"]["name"]))
        if method == "POST" and known:
            return _status(409)
        if method == "PATCH" and known:
            body = {**known, "status": body.get("status", known.get("status"))}
        return web.json_response(self._keep(plural, body), status=201 if method == "POST" else 200)

    def _keep(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        new = {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-11-30T10:00:00Z", "namespace": "speech"}
        body["metadata"] = {**new, **body["metadata"], "resourceVersion": str(next(self._versions))}
        self.objects[plural, body["metadata"]["name"]] = body
        return body


async def _end_of_all(tasks: set[asyncio.Task[Any]]) -> None:
    """End the connections that still wait for an answer, or the garbage collector complains of them in other tests."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def no_trouble(_: web.Request) -> None:
    """Let the server answer."""


def _plural_of(request: web.Request) -> str:
    parts = request.path.strip("/").split("/")
    if "namespaces" in parts:
        return parts[parts.index("namespaces") + 2]
    known = [part for part in parts if part.endswith("s") and part != "apis"]
    return known[-1] if known else parts[-1]


def _status(code: int) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": ""}, status=code)


def error_event(code: int, message: str) -> bytes:
    """Return an ERROR event of a watch."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


def _kubeconfig(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "slow",
        "clusters": [{"name": "slow", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "slow", "user": {"token": "none"}}],
        "contexts": [{"name": "slow", "context": {"cluster": "slow", "user": "slow", "namespace": "operators"}}],
    }
