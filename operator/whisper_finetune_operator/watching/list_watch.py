"""The operator's own watches: Leases of partitions in another namespace, and kinds that may not be installed yet.

Such a watch lists, watches for a while, and lists again. What a broken watch missed is found by the next list.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.api.api_server import LEASES, ApiServer, Resource, resource_of
from whisper_finetune_operator.api.errors import ClusterError, NotFoundError, RefusedError
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

    async def run(self, seen: Callable[[str], None]) -> None:
        """Watch until cancelled. `seen` hears of each sign of life."""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._watch(await self.list())
                seen(self._resource.plural)
                self._complaint = ""
            except NotFoundError:
                # Somebody may install it later.
                seen(self._resource.plural)
                await self._pause(RETRY_SECONDS)
                continue
            except (ClusterError, RefusedError) as problem:
                self._complain(problem)
            lasted_seconds = asyncio.get_running_loop().time() - began
            await self._pause(self._back_off.wait_seconds(lasted_seconds, random.random()))  # noqa: S311 (it guards nothing)

    def _complain(self, problem: Exception) -> None:
        """Log what is wrong, once for as long as it stays the same."""
        if str(problem) != self._complaint:
            self._complaint = str(problem)
            logger.warning("cannot watch %s: %s", self._resource.plural, problem)

    async def fill(self) -> None:
        """Bring the keeper up to date. Do nothing where the API server does not know the kind."""
        with suppress(NotFoundError):
            await self.list()

    async def list(self) -> str:
        """Bring the keeper up to date, and return the version to watch from."""
        # An object that was read by its name may lack the label, so that it is in no list means nothing.
        before = {uid_of(each): each for each in self._keeper.known() if self._label in labels_of(each)}
        version, objects = await self._api.list_with_version(self._resource, self._namespace, labelSelector=self._label)
        for each in objects:
            if self._keeper.put(each):
                self._keeper.tell(each)
        for uid in before.keys() - {uid_of(each) for each in objects}:
            self._keeper.forget(before[uid])
            self._keeper.tell(before[uid])
        self._keeper.listed()
        return version

    async def _watch(self, version: str) -> None:
        events = self._api.watch(
            self._resource, self._namespace, seconds=self._seconds, labelSelector=self._label, resourceVersion=version
        )
        async for event in events:
            if event["type"] == "ERROR":
                logger.info("listing %s anew: %s", self._resource.plural, event["object"].get("message"))
                return
            self._note(event["type"], event["object"])

    def _note(self, kind: str, changed: KubernetesObject) -> None:
        if kind == "DELETED":
            self._keeper.forget(changed)
        elif not self._keeper.put(changed):
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
    """Return the watch of an added kind, for an operator that makes some, or that made some that are left."""
    keeper = _keeper_of_workloads(kind.name, cache, queue)
    return ListWatch(api, resource_of(kind), settings.namespace, UID_LABEL, keeper, seconds=settings.watch_seconds)


def _keeper_of_leases(cache: ObjectCache, queue: Workqueue) -> Keeper:
    book = cache.partitions

    def tell(lease: KubernetesObject) -> None:
        queue.add(run_uid_of(lease))
        enqueue_turns(book, queue)

    return Keeper(book.put_lease, book.forget_lease, book.leases, tell, partial(enqueue_turns, book, queue))


def _keeper_of_workloads(kind: str, cache: ObjectCache, queue: Workqueue) -> Keeper:
    def tell(workload: KubernetesObject) -> None:
        queue.add_soon(run_uid_of(workload))

    put, forget = partial(cache.put_workload, kind), partial(cache.forget_workload, kind)
    return Keeper(put, forget, partial(cache.workloads, kind), tell, lambda: None)
