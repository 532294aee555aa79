"""Compare the cache with the API server now and then.

If kopf's watch is broken for longer than the server remembers changes, it begins anew with a list of the runs there
are. Runs that were deleted meanwhile are in no list, so no event tells of them. They are found here.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.api.api_server import METADATA_ONLY, PODS, RUNS, ApiServer, Resource, resource_of
from whisper_finetune_operator.api.errors import ClusterError, RefusedError
from whisper_finetune_operator.kubernetes_objects import run_uid_of, uid_of
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.workqueue import Workqueue
from whisper_finetune_operator.workloads import kinds

logger = logging.getLogger(__name__)
T = TypeVar("T")


class RestoredError(Exception):
    """The API server's versions went back, so what is known here seems newer than all that comes."""


class Resync:
    """Removes from the cache what the API server no longer has."""

    def __init__(self, api: ApiServer, cache: ObjectCache, queue: Workqueue, *, namespace: str | None) -> None:
        self._api = api
        self._cache = cache
        self._queue = queue
        self._namespace = namespace

    async def run(self, every_seconds: float) -> None:
        """Compare again and again until cancelled."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await self.once()
            except (ClusterError, RefusedError) as problem:
                logger.warning("cannot compare with the API server: %s", problem)

    async def fill_queue(self) -> None:
        """Fill the cache with all runs before one is reconciled, because the oldest one that waits goes first."""
        async for run in self._api.all_of(RUNS, self._namespace):
            self._cache.put_run(run)
        for each in self._cache.runs():
            self._queue.add(each.uid)

    def enqueue_holders(self) -> None:
        """Enqueue all who have a Lease, also runs that were deleted while nobody watched."""
        for lease in self._cache.partitions.leases():
            self._queue.add(run_uid_of(lease))

    async def once(self) -> None:
        """Compare everything, then enqueue every run that is under way."""
        cache = self._cache
        await self._require_no_restoration()
        await self._forget(RUNS, {run.uid: run.uid for run in cache.runs()}, cache.forget_run)
        for kind in kinds.built_in():
            labelled = {uid_of(each): each for each in cache.workloads(kind.name) if run_uid_of(each)}
            await self._forget(resource_of(kind), labelled, partial(cache.forget_workload, kind.name))
        await self._forget(PODS, {uid_of(pod): pod for pod in cache.pods()}, cache.forget_pod)
        for run in cache.runs():
            if "completionTime" not in run.status:
                self._queue.add(run.uid)
        cache.partitions.forget_in_use()
        self.enqueue_holders()

    async def _require_no_restoration(self) -> None:
        """Raise RestoredError where the server's version is below one that it has shown, because etcd was restored."""
        newest = max((int(run.resource_version) for run in self._cache.runs()), default=0)
        now = await self._api.version_of(RUNS, self._namespace)
        if now < newest:
            raise RestoredError(
                f"the API server's versions went back from {newest} to {now}, as after a restored backup: reading "
                "everything anew"
            )

    async def _forget(self, resource: Resource, known: Mapping[str, T], forget: Callable[[T], None]) -> None:
        """Forget what was known before the list began and is not in it. What comes meanwhile is left alone."""
        selector = {} if resource is RUNS else {"labelSelector": UID_LABEL}
        objects = self._api.all_of(resource, self._namespace, accept=METADATA_ONLY, **selector)
        for uid in known.keys() - {uid_of(each) async for each in objects}:
            logger.info("a deletion was missed: %s %s", resource.plural, uid)
            forget(known[uid])
