"""kopf's watch of the runs: each event goes to the object cache, and the key of its run to the workqueue.

Nothing is decided here. kopf brings the watch and its resilience.
"""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import kopf
from kopf._cogs.clients.errors import APIError
from kopf._cogs.clients.watching import WatchingError
from kopf._core.engines.peering import Identity

from whisper_finetune_api.v1alpha1 import GROUP, PLURAL, VERSION
from whisper_finetune_operator import back_off
from whisper_finetune_operator.api.api_server import PAGE
from whisper_finetune_operator.api.connection import Access
from whisper_finetune_operator.back_off import BackOff
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, uid_of
from whisper_finetune_operator.observability.health import WatchAges
from whisper_finetune_operator.settings import Settings
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import enqueue_turns
from whisper_finetune_operator.watching.workqueue import Workqueue

logger = logging.getLogger(__name__)

#: A watch that the server neither ended in time, nor sent anything on for so long after that, is given up.
GRACE_SECONDS = 10
#: For so long after the last event of a run kopf keeps a task for it, and with it the whole object. A list of thousands
#: of runs brings as many tasks at once.
IDLE_SECONDS = 0.01
#: A watch that lasted so long has not failed at once.
HEALTHY_SECONDS = 60.0
#: How kopf names the task of a watch.
_WATCHER_PREFIX = "watcher for "


async def watch_by_kopf(
    settings: Settings,
    access: Access,
    cache: ObjectCache,
    queue: Workqueue,
    ages: WatchAges,
    take_signals: Callable[[], None],
) -> None:
    """Watch until cancelled. Where kopf gives up, as at an error in a watch, it is begun anew.

    kopf takes the process's signals for itself each time it begins. `take_signals` takes them back.
    """
    broken = BackOff(HEALTHY_SECONDS)
    ages.expect([PLURAL])
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await _one_life(settings, access, cache, queue, ages, take_signals)
        except (APIError, WatchingError, kopf.LoginError, aiohttp.ClientError, TimeoutError) as problem:
            logger.warning("the watch of runs broke, and lists them anew: %s", problem)
        lasted_seconds = asyncio.get_running_loop().time() - began
        await asyncio.sleep(broken.wait_seconds(lasted_seconds, random.random()))  # noqa: S311 (it guards nothing)


async def _one_life(
    settings: Settings,
    access: Access,
    cache: ObjectCache,
    queue: Workqueue,
    ages: WatchAges,
    take_signals: Callable[[], None],
) -> None:
    """Let kopf watch until one of its tasks ends. kopf's own way to run them would cancel all other tasks too."""
    registry = kopf.OperatorRegistry()
    _register_handler(registry, cache, queue, ages)
    _register_login(registry, access, ages)
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_kopf_settings(settings),
        standalone=True,
        # kopf's own choice looks up the user's name, which a container without an entry in passwd does not have.
        identity=Identity(settings.identity),
        clusterwide=settings.namespace is None,
        namespaces=[settings.namespace] if settings.namespace else [],
    )
    take_signals()
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # kopf leaves its watch running where another of its tasks ends.
        left = [*tasks, *(each for each in asyncio.all_tasks() if each.get_name().startswith(_WATCHER_PREFIX))]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    for task in ended:
        task.result()


def _register_login(registry: kopf.OperatorRegistry, access: Access, ages: WatchAges) -> None:
    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        # kopf asks again when the token is refused: by then the kubelet has renewed its file.
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=access.tls),
            headers=access.headers(),
            trace_configs=[_note_opened_watches(ages)],
        )
        return kopf.AiohttpSession(server=access.server, aiohttp_session=session)


def _note_opened_watches(ages: WatchAges) -> aiohttp.TraceConfig:
    """Note each watch that is opened.

    Watches end and are opened anew, so one that lives shows it where nothing happens.
    """

    async def request_ended(_: Any, __: Any, request: aiohttp.TraceRequestEndParams) -> None:
        if request.url.query.get("watch") == "true" and request.response.ok:
            ages.seen(request.url.name)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(request_ended)
    return trace


def _kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    # Otherwise kopf watches CRDs and namespaces, and needs the rights to.
    chosen.scanning.disabled = True
    chosen.watching.server_timeout = settings.watch_seconds
    chosen.watching.client_timeout = settings.watch_seconds + GRACE_SECONDS
    chosen.watching.inactivity_timeout = settings.watch_seconds + GRACE_SECONDS
    chosen.watching.connect_timeout = GRACE_SECONDS
    chosen.watching.chunk_size = int(PAGE)
    chosen.networking.connect_timeout = GRACE_SECONDS
    chosen.networking.request_timeout = 45
    chosen.networking.error_backoffs = _Endless()
    # kopf would kill the process so long after the end of its tasks.
    chosen.process.ultimate_exiting_timeout = None
    chosen.networking.enforce_retry_after = True
    chosen.queueing.idle_timeout = IDLE_SECONDS
    chosen.persistence.diffbase_storage = _NoDifferences()
    chosen.persistence.progress_storage = _NoProgress()
    return chosen


class _Endless:
    """Waits between tries of kopf's own requests, without end: a server may be away for an hour."""

    def __iter__(self) -> Iterator[float]:
        return (back_off.wait_after_failures(failures, random.random()) for failures in itertools.count(1))  # noqa: S311 (it guards nothing)


class _NoDifferences(kopf.DiffBaseStorage):
    """Keeps no copy of objects.

    kopf would copy each one to compare it with the one before, which no handler here needs.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing on users' objects."""


class _NoProgress(kopf.ProgressStorage):
    """Keeps no progress of handlers: the operator's own workqueue tries keys again."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing on users' objects."""

    def purge(self, **_: Any) -> None:
        """Keep nothing on users' objects."""

    def touch(self, **_: Any) -> None:
        """Keep nothing on users' objects."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


def _register_handler(registry: kopf.OperatorRegistry, cache: ObjectCache, queue: Workqueue, ages: WatchAges) -> None:
    """Let each event of a run go to the cache, and its key to the workqueue."""

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        ages.seen(PLURAL)
        run: KubernetesObject = dict(event["object"])
        if event["type"] == "DELETED":
            cache.forget_run(uid_of(run))
        elif not cache.put_run(run):
            # The answer to an own write, or the list before the watch, has shown it already.
            return
        # In a burst the Jobs of new runs come before the statuses of those that have theirs.
        is_begun = "conditions" in (run.get("status") or {})
        (queue.add if is_begun else queue.add_first)(uid_of(run))
        enqueue_turns(cache.partitions, queue)
