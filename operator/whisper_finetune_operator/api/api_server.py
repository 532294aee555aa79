"""Requests to the API server, how many may be sent in a second, and what the answers mean.

Objects are plain dictionaries, as the API has them.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import msgspec

from whisper_finetune_api import v1alpha1
from whisper_finetune_operator.api.connection import Answer, Connection, UnreachableError, UntrustedError
from whisper_finetune_operator.api.errors import (
    ClusterError,
    ConflictError,
    GoneError,
    NotFoundError,
    RefusedError,
    UnauthorizedError,
    UntrustedServerError,
)
from whisper_finetune_operator.kubernetes_objects import KubernetesObject
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.workloads.kueue_workloads import KUEUE_VERSION, KUEUE_WORKLOADS
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
#: So many objects are asked for at a time: more cost memory, which Python does not give back.
PAGE = "100"
#: A watch that the server did not open within this time, or did not end so long after its time, is given up.
WATCH_GRACE_SECONDS = 10

#: So many seconds' worth of requests may go at once after a quiet time.
_BURST_SECONDS = 1.0
#: The longest wait, also where the server asks for a longer one.
LONGEST_HOLD_SECONDS = 60.0

_METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "apply": "PATCH",
    "delete": "DELETE",
}
_FIRST_FAILURE = 300
_FIRST_FAULT = 500
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_CONFLICT = 409
_GONE = 410
#: Answers that stay the same until somebody corrects something.
_REFUSALS = (400, 403, 405, 413, 415, 422)


_ERRORS = {_UNAUTHORIZED: UnauthorizedError, _NOT_FOUND: NotFoundError, _CONFLICT: ConflictError, _GONE: GoneError}


@dataclass(frozen=True)
class Resource:
    """One kind of object, by the start of its path, its version and its plural name."""

    root: str
    version: str
    plural: str

    @property
    def group(self) -> str:
        return self.version.rpartition("/")[0]

    def path(self, namespace: str | None, name: str = "", part: str = "") -> str:
        """Return the path of the object, of a part of it such as its status, or of all objects."""
        place = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(text for text in (f"/{self.root}/{self.version}{place}/{self.plural}", name, part) if text)


RUNS = Resource("apis", f"{v1alpha1.GROUP}/{v1alpha1.VERSION}", v1alpha1.PLURAL)
PODS = Resource("api", "v1", "pods")
CORE_EVENTS = Resource("api", "v1", "events")
EVENTS = Resource("apis", "events.k8s.io/v1", "events")
#: What Kueue says of Jobs. A cluster may have none.
QUEUED = Resource("apis", KUEUE_VERSION, KUEUE_WORKLOADS)
LEASES = Resource("apis", "coordination.k8s.io/v1", "leases")
ACCESS_REVIEWS = Resource("apis", "authorization.k8s.io/v1", "selfsubjectaccessreviews")


def resource_of(kind: WorkloadKind) -> Resource:
    """Return where workloads of that kind are."""
    return Resource("apis", kind.api_version, kind.plural)


class Pace:
    """Lets so many requests pass in a second, and none while the server asks to wait."""

    def __init__(self, per_second: float, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._gap_seconds = 1.0 / per_second
        self._pause = pause
        self._next_at = float("-inf")
        self._held_until = float("-inf")

    async def turn(self) -> None:
        """Wait until the next request may go."""
        now = _clock()
        turn_at = max(self._next_at, now - _BURST_SECONDS)
        self._next_at = turn_at + self._gap_seconds
        # The server may ask for more time while one waits.
        while (wait := max(turn_at, self._held_until) - _clock()) > 0:
            await self._pause(wait * (1.0 if turn_at >= self._held_until else _spread()))

    async def end_of_hold(self) -> None:
        """Wait for as long as the server asks to, and no longer."""
        while (wait := self._held_until - _clock()) > 0:
            await self._pause(wait * _spread())

    def hold(self, seconds: float) -> None:
        """Let nothing pass for so long, because the server said so."""
        self._held_until = max(self._held_until, _clock() + min(seconds, LONGEST_HOLD_SECONDS))


class ApiServer:
    """The verbs of the API. Each may raise any of the errors above. `pace` bounds all requests but watches."""

    def __init__(self, connection: Connection, metrics: Metrics, pace: Pace | None = None) -> None:
        self._connection = connection
        self._requests = metrics.api_requests
        self._pace = pace
        #: Since when each request has had an answer that was no fault of the server's. None: the last one had none.
        self.answering_since: float | None = None
        #: The last of these answers.
        self.answered_at = float("-inf")

    async def find(self, resource: Resource, namespace: str, name: str) -> KubernetesObject | None:
        """Return the object, or None where there is none."""
        try:
            return await self.ask("get", resource, resource.path(namespace, name))
        except NotFoundError:
            return None

    async def create(self, resource: Resource, body: KubernetesObject) -> KubernetesObject:
        """Create the object in the namespace that it names. Raises ConflictError where its name is taken."""
        return await self.ask("create", resource, resource.path(body["metadata"].get("namespace")), body=body)

    async def replace(self, resource: Resource, body: KubernetesObject) -> KubernetesObject:
        """Replace the object. Raises ConflictError where it changed since it was read."""
        metadata = body["metadata"]
        return await self.ask("update", resource, resource.path(metadata["namespace"], metadata["name"]), body=body)

    async def patch(self, resource: Resource, namespace: str, name: str, body: KubernetesObject) -> KubernetesObject:
        """Merge the fields into the object and return it."""
        return await self.ask("patch", resource, resource.path(namespace, name), body=body, content_type=MERGE_PATCH)

    async def all_of(
        self, resource: Resource, namespace: str | None, *, accept: str = JSON, **query: str
    ) -> AsyncIterator[KubernetesObject]:
        """Yield every object in the namespace (None: in all of them), as the server has it now."""
        async for _, items in self.pages_of(resource, namespace, accept=accept, **query):
            for item in items:
                yield item

    async def pages_of(
        self, resource: Resource, namespace: str | None, *, accept: str = JSON, **query: str
    ) -> AsyncIterator[tuple[str, list[KubernetesObject]]]:
        """Yield the objects in the namespace (None: in all of them) page by page, with the version to watch from.

        Each page has the same version. Raises GoneError where the server no longer has it for the rest of the pages.
        """
        token = ""
        while True:
            page = {"limit": PAGE, **query, **({"continue": token} if token else {})}
            answer = await self.ask("list", resource, resource.path(namespace), accept=accept, **page)
            # Some lists that hold nothing hold null.
            yield answer["metadata"].get("resourceVersion", ""), answer["items"] or []
            token = answer["metadata"].get("continue", "")
            if not token:
                return

    async def version_of(self, resource: Resource, namespace: str | None) -> int:
        """Return the version that the server's objects of that kind are at now."""
        answer = await self.ask("list", resource, resource.path(namespace), accept=METADATA_ONLY, limit="1")
        return int(answer["metadata"]["resourceVersion"])

    async def watch(
        self, resource: Resource, namespace: str | None, *, seconds: int, **query: str
    ) -> AsyncIterator[KubernetesObject]:
        """Yield each event until the server ends the watch after so many seconds.

        One of type BOOKMARK brings a version alone. One of type ERROR raises GoneError.
        """
        asked = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds), **query}
        path = resource.path(namespace)
        if self._pace:
            await self._pace.end_of_hold()
        lines = self._connection.lines(
            path,
            headers={"Accept": JSON},
            connect_seconds=WATCH_GRACE_SECONDS,
            total_seconds=seconds + WATCH_GRACE_SECONDS,
            **asked,
        )
        try:
            async for line in lines:
                if isinstance(line, Answer):
                    self._hold(line)
                    _meaning(f"watch {path}", line)
                else:
                    yield _event(f"watch {path}", line)
        except UnreachableError as problem:
            raise _no_answer(problem) from problem

    async def ask(
        self,
        verb: str,
        resource: Resource,
        path: str,
        *,
        body: object = None,
        content_type: str = JSON,
        accept: str = JSON,
        **query: str,
    ) -> KubernetesObject:
        """Send one request, and return what a good answer holds."""
        headers = {"Accept": accept, **({"Content-Type": content_type} if body is not None else {})}
        if self._pace:
            await self._pace.turn()
        try:
            answer = await self._connection.send(_METHODS[verb], path, body=body, headers=headers, **query)
        except UnreachableError as problem:
            self._requests.labels(verb, resource.plural, "none").inc()
            self._note_answer(is_fault=True)
            raise _no_answer(problem) from problem
        self._requests.labels(verb, resource.plural, str(answer.code)).inc()
        self._note_answer(is_fault=answer.code >= _FIRST_FAULT)
        self._hold(answer)
        return _meaning(f"{verb} {path}", answer)

    def _hold(self, refusal: Answer) -> None:
        """Send nothing for as long as the server asks for."""
        if self._pace and refusal.retry_after_seconds is not None and refusal.code >= _FIRST_FAILURE:
            self._pace.hold(refusal.retry_after_seconds)

    def _note_answer(self, *, is_fault: bool) -> None:
        now = _clock()
        if is_fault:
            self.answering_since = None
            return
        self.answered_at = now
        if self.answering_since is None:
            self.answering_since = now


def _no_answer(problem: UnreachableError) -> ClusterError:
    if isinstance(problem, UntrustedError):
        return UntrustedServerError(f"the API server's certificate is not trusted: {problem}")
    return ClusterError(f"the API server does not answer: {problem}")


def _meaning(request: str, answer: Answer) -> KubernetesObject:
    if answer.code < _FIRST_FAILURE:
        return answer.body
    message = str(answer.body.get("message", ""))
    if answer.code in _REFUSALS:
        raise RefusedError(message)
    raise _ERRORS.get(answer.code, ClusterError)(f"{request}: {answer.code} {message}")


def _event(request: str, line: bytes) -> KubernetesObject:
    try:
        event: KubernetesObject = msgspec.json.decode(line)
    except ValueError as problem:
        raise ClusterError(f"{request}: a line that is no event: {problem}") from problem
    if event["type"] == "ERROR":
        status = event["object"]
        raise GoneError(f"{request}: {status.get('code')} {status.get('message')}")
    return event


def _spread() -> float:
    """Return a random factor, so that requests that were held up together do not come back together."""
    return 1.0 + random.random() / 2  # noqa: S311 (it guards nothing)


def _clock() -> float:
    return asyncio.get_running_loop().time()
