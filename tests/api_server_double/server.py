"""A double of the API server over HTTP: lists by pages, watches, status by apply, Leases by their versions.

What it answers costs the operator what the real one's answers cost it. It checks nothing, so thousands of objects are
there in seconds, and it takes no time that would be counted as the operator's.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

from aiohttp import web

from api_server_double.discovery import describe_apis
from api_server_double.stored_objects import KubernetesObject, Selection, StoredObjects
from object_store.server_process import free_port

RUNS, JOBS, PODS, LEASES, EVENTS = "whisperfinetunes", "jobs", "pods", "leases", "events"
#: Told of each object that the operator has written: its plural, and the object.
OnWrite = Callable[[str, KubernetesObject], None]
_REVIEWS = "selfsubjectaccessreviews"
_METADATA_ONLY = "PartialObjectMetadataList"
_QUIET_STEP_SECONDS = 0.05


class ApiServerDouble:
    """Serves in the event loop of who opens it. All writes of `objects` are shown to the watches."""

    def __init__(self, objects: StoredObjects, on_write: OnWrite) -> None:
        self.objects = objects
        #: Requests but for watches, by verb and plural.
        self.requests: Counter[tuple[str, str]] = Counter()
        self.address = f"http://127.0.0.1:{free_port()}"
        #: A turn of the resync begins with a list that asks for one object's metadata. It waits until it is let go.
        self._resync_turns = asyncio.Semaphore(0)
        self._on_write = on_write
        self._pages: dict[str, Iterator[KubernetesObject]] = {}
        self._changed = asyncio.Event()
        self._answered_at = 0.0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["ApiServerDouble"]:
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(self.address.rpartition(":")[2])).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    def hold_resyncs(self) -> None:
        """Let no turn of the resync begin from now on, also none of an operator that is started later."""
        self._resync_turns = asyncio.Semaphore(0)

    def let_resync(self) -> None:
        """Let one turn of the resync begin."""
        self._resync_turns.release()

    def show(self) -> None:
        """Let the watches send what changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def quiet(self, seconds: float, *, at_most_seconds: float) -> None:
        """Wait until no request has come for so long."""
        deadline = time.monotonic() + at_most_seconds
        begun = time.monotonic()
        while time.monotonic() < min(deadline, max(self._answered_at, begun) + seconds):  # noqa: ASYNC110 (no event tells of silence)
            await asyncio.sleep(_QUIET_STEP_SECONDS)

    def writes(self) -> int:
        """Return how many requests wrote something that lasts, so far."""
        return sum(count for (verb, plural), count in self.requests.items() if verb != "GET" and plural != _REVIEWS)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        plural, namespace, name = _address_of(request.path)
        if "watch" in request.query:
            return await self._watch(request, plural, namespace)
        self.requests[request.method, plural] += 1
        self._answered_at = time.monotonic()
        match request.method:
            case "GET":
                return await self._show(request, plural, namespace, name)
            case "DELETE":
                return self._delete(plural, namespace, name)
        written = self._write(request.method, await request.json(), plural, namespace, name, request.query)
        self.show()
        return written

    async def _show(self, request: web.Request, plural: str, namespace: str, name: str) -> web.Response:
        if request.path.startswith("/openapi/"):
            return _status(404)
        if not plural:
            return web.json_response(describe_apis(request.path))
        if name:
            found = self.objects.find(plural, namespace, name)
            return web.json_response(found) if found else _status(404)
        if _METADATA_ONLY in request.headers.get("Accept", "") and request.query.get("limit") == "1":
            await self._resync_turns.acquire()
        return self._list(request, plural, namespace)

    def _list(self, request: web.Request, plural: str, namespace: str) -> web.Response:
        query, token = request.query, request.query.get("continue", "")
        selection = Selection(namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        # Where the list began: what changes before it is over is shown by the watch.
        begun = list(selection.all_in(self.objects.collection(plural))) if not token else []
        left = self._pages.pop(token) if token else iter(begun)
        limit = int(query.get("limit", "0")) or None
        items = list(islice(left, limit))
        version = token.rpartition("-")[2] or str(self.objects.version)
        metadata = {"resourceVersion": version}
        if limit and len(items) == limit:
            metadata["continue"] = f"{self.requests.total()}-{version}"
            self._pages[metadata["continue"]] = left
        if _METADATA_ONLY in request.headers.get("Accept", ""):
            items = [{"metadata": found["metadata"]} for found in items]
        return web.json_response({"metadata": metadata, "items": items})

    async def _watch(self, request: web.Request, plural: str, namespace: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        selection = Selection(namespace, request.query.get("labelSelector", ""))
        version = int(request.query.get("resourceVersion", self.objects.version))
        collection = self.objects.collection(plural)
        try:
            async with asyncio.timeout(float(request.query.get("timeoutSeconds", 60))):
                while True:
                    changed, index = self._changed, collection.since(version)
                    news = [each for each in collection.changes[index:] if selection.takes(each.object)]
                    version = self.objects.version
                    if news:
                        await response.write(b"".join(map(_line, news)))
                    await changed.wait()
        except (TimeoutError, ConnectionError):
            # The time is over, or the operator is gone.
            return response

    def _write(
        self, method: str, body: KubernetesObject, plural: str, namespace: str, name: str, query: Any
    ) -> web.Response:
        if plural == _REVIEWS:
            return web.json_response({"status": {"allowed": True}}, status=201)
        name = name or body["metadata"]["name"]
        known = self.objects.find(plural, namespace, name)
        if method == "POST":
            return _status(409) if known else self._keep(plural, _created(body), code=201)
        if known is None:
            return _status(404)
        if _is_stale(body["metadata"], known["metadata"]):
            return _status(409)
        return self._keep(plural, _merged(known, body, query.get("fieldManager", "")), code=200)

    def _keep(self, plural: str, body: KubernetesObject, *, code: int) -> web.Response:
        if plural == EVENTS:
            # The real server keeps them in the same namespace, and selects by field before it answers.
            return web.json_response(body, status=code)
        stored = self.objects.put(plural, body)
        self._on_write(plural, stored)
        return web.json_response(stored, status=code)

    def _delete(self, plural: str, namespace: str, name: str) -> web.Response:
        known = self.objects.find(plural, namespace, name)
        if known is None:
            return _status(404)
        self.objects.remove(plural, known)
        self.show()
        return web.json_response({"kind": "Status", "status": "Success"})


def _line(change: Any) -> bytes:
    return json.dumps({"type": change.type, "object": change.object}).encode() + b"\n"


def _created(body: KubernetesObject) -> KubernetesObject:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"status": {}, **body, "metadata": {"creationTimestamp": now, **body["metadata"]}}


def _is_stale(given: KubernetesObject, known: KubernetesObject) -> bool:
    return any(given.get(field, known[field]) != known[field] for field in ("uid", "resourceVersion"))


def _merged(known: KubernetesObject, body: KubernetesObject, manager: str) -> KubernetesObject:
    """Return the object with what a status, a patch or a replacement brings."""
    metadata = dict(known["metadata"])
    for field in ("labels", "annotations"):
        if field in body["metadata"]:
            metadata[field] = {**(metadata.get(field) or {}), **body["metadata"][field]}
    if manager:
        metadata["managedFields"] = [{"manager": manager, "operation": "Apply", "subresource": "status"}]
    spec = {**known["spec"], **body.get("spec", {})}
    return {**known, "metadata": metadata, "spec": spec, "status": body.get("status", known.get("status", {}))}


def _address_of(path: str) -> tuple[str, str, str]:
    """Return plural, namespace and name of what a path names. The plural is empty for a path of discovery."""
    parts = path.strip("/").split("/")[2 if path.startswith("/api/") else 3 :]
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    plural, name, *_ = (*parts, "", "")
    return plural, namespace, name


def _status(code: int) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": ""}, status=code)
