"""Post Kubernetes Events in the background, so that no run waits for one."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from whisper_finetune_api import v1alpha1
from whisper_finetune_operator.api.api_server import EVENTS, ApiServer
from whisper_finetune_operator.api.errors import ClusterError, ConflictError, RefusedError
from whisper_finetune_operator.deciding.status import Announcement
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, render_micro_time
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.runs import Run

logger = logging.getLogger(__name__)

#: Where more Events than this wait, further ones are dropped and counted.
BACKLOG = 2000
BUSY_SECONDS = 0.2
#: The API server's words where something is to be created in a namespace that is being deleted.
_UNDER_DELETION = "because it is being terminated"
#: The API's limit of a note.
NOTE_MAX_BYTES = 1024


@dataclass(frozen=True)
class Subject:
    """The object that an Event is about. Without a UID it is whichever has the name."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""


@dataclass(frozen=True)
class _Post:
    subject: Subject
    announcement: Announcement
    at: datetime
    #: Of the log's line where it cannot be posted.
    extra: Mapping[str, str]


class EventPoster:
    """Posts what it is given in the background. The same thing said again raises the count of its Event."""

    def __init__(self, api: ApiServer, metrics: Metrics, *, instance: str) -> None:
        self._api = api
        self._dropped = metrics.events_dropped
        self._instance = instance
        self._posts: asyncio.Queue[_Post] = asyncio.Queue(BACKLOG)
        #: Why the last Event was not posted, by namespace.
        self._told: dict[str, str] = {}

    def post(self, run: Run, announcement: Announcement) -> None:
        """Take an Event about a run."""
        subject = Subject(f"{v1alpha1.GROUP}/{v1alpha1.VERSION}", v1alpha1.KIND, run.namespace, run.name, run.uid)
        self._take(_Post(subject, announcement, datetime.now(UTC), about(run)))

    def post_about(self, subject: Subject, announcement: Announcement) -> None:
        """Take an Event about an object that is no run."""
        self._take(_Post(subject, announcement, datetime.now(UTC), {"namespace": subject.namespace}))

    def _take(self, post: _Post) -> None:
        try:
            self._posts.put_nowait(post)
        except asyncio.QueueFull:
            self._dropped.inc()

    async def run(self, is_busy: Callable[[], bool]) -> None:
        """Post until cancelled. While runs wait, Events wait too, unless too many of them do."""
        while True:
            post = await self._posts.get()
            while is_busy() and self._posts.qsize() < BACKLOG // 2:  # noqa: ASYNC110 (no event says that all is done)
                await asyncio.sleep(BUSY_SECONDS)
            await self._post_next(post)

    async def post_waiting(self) -> None:
        """Post all Events that wait."""
        while not self._posts.empty():
            await self._post_next(self._posts.get_nowait())

    async def _post_next(self, post: _Post) -> None:
        try:
            await self._post(post)
        except (ClusterError, RefusedError) as problem:
            # An Event is a courtesy: conditions say the same, and a deleted namespace takes none.
            self._dropped.inc()
            logger.log(
                self._level_of(post.subject.namespace, str(problem)),
                "Event %s not posted: %s",
                post.announcement.reason,
                problem,
                extra=post.extra,
            )
        else:
            self._told.pop(post.subject.namespace, None)

    def _level_of(self, namespace: str, problem: str) -> int:
        """Return the level of the log: a warning once in a namespace, and never in one that is being deleted."""
        news = self._told.get(namespace) != problem
        self._told[namespace] = problem
        return logging.WARNING if news and _UNDER_DELETION not in problem else logging.DEBUG

    async def _post(self, post: _Post) -> None:
        event = event_object(post.subject, post.announcement, post.at, self._instance)
        try:
            await self._api.create(EVENTS, event)
        except ConflictError:
            await self._raise_count(event)

    async def _raise_count(self, event: KubernetesObject) -> None:
        metadata = event["metadata"]
        known = await self._api.find(EVENTS, metadata["namespace"], metadata["name"])
        if known is None:
            return
        count = (known.get("series") or {"count": 1})["count"] + 1
        series = {"count": count, "lastObservedTime": event["eventTime"]}
        await self._api.patch(EVENTS, metadata["namespace"], metadata["name"], {"series": series})


def event_object(subject: Subject, announcement: Announcement, at: datetime, instance: str) -> KubernetesObject:
    """Return the events.k8s.io/v1 Event. Events that say the same about the same object have one name."""
    said = f"{announcement.type}/{announcement.reason}/{announcement.note}"
    digest = hashlib.sha256(said.encode()).hexdigest()[:10]
    names = subject.name, subject.uid[:8], digest
    regarding = {
        "apiVersion": subject.api_version,
        "kind": subject.kind,
        "namespace": subject.namespace,
        "name": subject.name,
        **({"uid": subject.uid} if subject.uid else {}),
    }
    return {
        "apiVersion": EVENTS.version,
        "kind": "Event",
        "metadata": {"name": ".".join(filter(None, names)), "namespace": subject.namespace},
        "eventTime": render_micro_time(at),
        "reportingController": v1alpha1.MANAGED_BY,
        "reportingInstance": instance,
        "action": "Reconcile",
        "type": announcement.type,
        "reason": announcement.reason,
        "note": announcement.note.encode()[:NOTE_MAX_BYTES].decode(errors="ignore"),
        "regarding": regarding,
    }
