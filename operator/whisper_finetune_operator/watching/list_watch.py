"""The operator's own watches of workloads, pods and Leases. kopf watches the runs.

Such a watch lists once, and then watches from the version of the list on. A watch that ends or breaks is continued
where it ended. Only where the server no longer knows what changed since then, it lists again.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.api.api_server import LEASES, PODS, ApiServer, Resource, resource_of
from whisper_finetune_operator.api.errors import ClusterError, GoneError, NotFoundError, RefusedError
from whisper_finetune_operator.back_off import BackOff
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, labels_of, run_uid_of, uid_of
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL
from whisper_finetune_operator.settings import Settings
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import enqueue_turns
from whisper_finetune_operator.watching.workqueue import Workqueue
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind

logger = logging.getLogger(__name__)

#: How often to try while the API server does not know the kind.
RETRY_SECONDS = 5.0
#: A watch that lasted so long, or half its time, has not failed. A server may end each one as soon as it is opened.
HEALTHY_SECONDS = 10.0


@dataclass(frozen=True)
class Keeper:
    """Takes what a watch sees."""

    put: Callable[[KubernetesObject], bool]
    forget: Callable[[KubernetesObject], None]
    known: Callable[[], Iterator[KubernetesObject]]
    #: Called with each object that changed or was deleted.
    tell: Callable[[KubernetesObject], None]
    #: Called after each list, whether it brought anything or not.
    listed: Callable[[], None]


class ListWatch:
    """Keeps one kind of object in sight. List and watch show the objects with the label."""

    def __init__(
        self,
        api: ApiServer,
        resource: Resource,
        namespace: str | None,
        label: str,
        keeper: Keeper,
        *,
        seconds: int,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._label = label
        self._keeper = keeper
        self._seconds = seconds
        self._pause = pause
        self._back_off = BackOff(min(HEALTHY_SECONDS, seconds / 2))
        self._complaint = ""
        #: Up to which the keeper has seen everything. None: it must be listed.
        self._version: str | None = None

    @property
    def plural(self) -> str:
        return self._resource.plural

    async def run(self, seen: Callable[[str], None]) -> None:
        """Watch until cancelled. `seen` hears of each sign of life."""
        sign = partial(seen, self.plural)
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._follow(sign)
                self._complaint = ""
            except NotFoundError:
                # Somebody may install it later.
                self._version = None
                sign()
                await self._pause(RETRY_SECONDS)
                continue
            except GoneError as problem:
                self._version = None
                logger.info("listing %s anew: %s", self.plural, problem)
            except RefusedError as problem:
                self._version = None
                self._complain(problem)
            except ClusterError as problem:
                self._complain(problem)
            lasted_seconds = asyncio.get_running_loop().time() - began
            await self._pause(self._back_off.wait_seconds(lasted_seconds, random.random()))  # noqa: S311 (it guards nothing)

    def _complain(self, problem: Exception) -> None:
        """Log what is wrong, once for as long as it stays the same."""
        if str(problem) != self._complaint:
            self._complaint = str(problem)
            logger.warning("cannot watch %s: %s", self.plural, problem)

    async def fill(self) -> None:
        """Bring the keeper up to date before there is work, and tell nobody. An unknown kind has no objects."""
        try:
            self._version = await self._list(lambda _: None)
        except NotFoundError:
            self._version = None

    async def list(self) -> str:
        """Bring the keeper up to date, tell what changed, and return the version to watch from."""
        version = await self._list(self._keeper.tell)
        self._keeper.listed()
        return version

    async def _list(self, tell: Callable[[KubernetesObject], None]) -> str:
        # An object that was read by its name may lack the label, so that it is in no list means nothing.
        missing = {uid_of(each): each for each in self._keeper.known() if self._label in labels_of(each)}
        version = ""
        async for page_version, objects in self._api.pages_of(
            self._resource, self._namespace, labelSelector=self._label
        ):
            version = page_version
            for each in objects:
                missing.pop(uid_of(each), None)
                if self._keeper.put(each):
                    tell(each)
        for gone in missing.values():
            self._keeper.forget(gone)
            tell(gone)
        return version

    async def _follow(self, sign: Callable[[], None]) -> None:
        """List where it is needed, and watch until the server ends the watch."""
        if self._version is None:
            self._version = await self.list()
            sign()
        query = {"labelSelector": self._label, "resourceVersion": self._version}
        async for event in self._api.watch(self._resource, self._namespace, seconds=self._seconds, **query):
            sign()
            self._note(event["type"], event["object"])
            self._version = event["object"]["metadata"]["resourceVersion"]
        sign()

    def _note(self, kind: str, changed: KubernetesObject) -> None:
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            self._keeper.forget(changed)
        elif not self._keeper.put(changed):
            # The answer to an own write has shown it already.
            return
        self._keeper.tell(changed)


def watch_leases(settings: Settings, namespace: str, api: ApiServer, cache: ObjectCache, queue: Workqueue) -> ListWatch:
    """Return the watch of the namespace's Leases.

    It is needed without a pool too: runs may be on one that was removed.
    """
    keeper = _keeper_of_leases(cache, queue)
    return ListWatch(api, LEASES, namespace, PARTITION_LABEL, keeper, seconds=settings.watch_seconds)


def watch_workloads(
    kind: WorkloadKind, settings: Settings, api: ApiServer, cache: ObjectCache, queue: Workqueue
) -> ListWatch:
    """Return the watch of a kind of workload. The cluster may not know the kind, or not yet."""
    put, forget = partial(cache.put_workload, kind.name), partial(cache.forget_workload, kind.name)
    keeper = Keeper(put, forget, partial(cache.workloads, kind.name), partial(_enqueue_soon, queue), lambda: None)
    return ListWatch(api, resource_of(kind), settings.namespace, UID_LABEL, keeper, seconds=settings.watch_seconds)


def watch_pods(settings: Settings, api: ApiServer, cache: ObjectCache, queue: Workqueue) -> ListWatch:
    """Return the watch of the runs' pods."""
    keeper = Keeper(cache.put_pod, cache.forget_pod, cache.pods, partial(_enqueue_soon, queue), lambda: None)
    return ListWatch(api, PODS, settings.namespace, UID_LABEL, keeper, seconds=settings.watch_seconds)


def _keeper_of_leases(cache: ObjectCache, queue: Workqueue) -> Keeper:
    book = cache.partitions

    def tell(lease: KubernetesObject) -> None:
        queue.add(run_uid_of(lease))
        enqueue_turns(book, queue)

    return Keeper(book.put_lease, book.forget_lease, book.leases, tell, partial(enqueue_turns, book, queue))


def _enqueue_soon(queue: Workqueue, child: KubernetesObject) -> None:
    queue.add_soon(run_uid_of(child))
