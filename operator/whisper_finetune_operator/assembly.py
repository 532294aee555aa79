"""The operator's parts put together, and their life: check, wait for the leadership, work, give it back."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from whisper_finetune_api.causes import EXIT_CONFIG
from whisper_finetune_operator.acting.actor import Actor
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.acting.event_poster import EventPoster, Subject
from whisper_finetune_operator.acting.installations import Installation, OtherInstallations
from whisper_finetune_operator.acting.partition_actor import PartitionActor, PartitionCluster
from whisper_finetune_operator.api import preflight
from whisper_finetune_operator.api.api_server import LEASES, ApiServer, Pace
from whisper_finetune_operator.api.connection import Connection
from whisper_finetune_operator.api.errors import ClusterError, RefusedError, until_answered
from whisper_finetune_operator.api.leader_election import Leadership, LeaseTerms
from whisper_finetune_operator.api.preflight import StartError
from whisper_finetune_operator.deciding import partition_steps
from whisper_finetune_operator.deciding.status import Announcement
from whisper_finetune_operator.observability.health import HealthServer, WatchAges
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.observability.scraped_figures import PartitionFigures, RunFigures
from whisper_finetune_operator.partitions.partition_queue import QueuedRun
from whisper_finetune_operator.partitions.pools import Inventory
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.progress_client import ProgressClient
from whisper_finetune_operator.reconcile import Reconciler
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.settings import Settings
from whisper_finetune_operator.watching import kopf_watches, list_watch, partition_book
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.resync import Resync
from whisper_finetune_operator.watching.runtimes_file import RuntimesFile
from whisper_finetune_operator.watching.workqueue import Workqueue
from whisper_finetune_operator.workloads import children, kinds
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind

logger = logging.getLogger(__name__)


class Operator:
    """One replica. The Lease has connections of its own, which no work can keep busy."""

    def __init__(self, settings: Settings, offered: Runtimes, way: Connection, lease_way: Connection) -> None:
        self._settings = settings
        self._access = way.access
        self._partition_namespace = settings.partition_namespace or self._lease_terms().namespace
        self._metrics = Metrics()
        self._api = ApiServer(way, self._metrics, Pace(settings.requests_per_second))
        self._poster = EventPoster(self._api, self._metrics, instance=settings.identity)
        self._file = RuntimesFile(settings.runtimes, offered, self._metrics, self._tell_refused_file)
        lease_api = ApiServer(lease_way, self._metrics)
        self._leadership = Leadership(lease_api, self._lease_terms()) if settings.leader_election else None
        own = _installation(settings, self._lease_terms().namespace)
        self._cache = _object_cache(own, self._file.current)
        self._other_installations = OtherInstallations(own, self._poster)
        require_leadership = self._leadership.require if self._leadership else _always
        leases = PartitionCluster(self._api, self._partition_namespace, settings.namespace, self._inventory)
        cluster = Cluster(self._api, own)
        partitions = PartitionActor(self._cache, cluster, leases, require_leadership=require_leadership)
        actor = Actor(
            self._cache, cluster, partitions, self._poster, self._metrics, require_leadership=require_leadership
        )
        self._reconciler = Reconciler(
            self._cache,
            actor,
            self._file.current,
            self._other_installations,
            self._metrics,
            require_leadership=require_leadership,
        )
        self._queue = Workqueue(self._reconcile, self._reconciler.report_failure, workers=settings.workers)
        self._resync = Resync(self._api, self._cache, self._queue, namespace=settings.namespace)
        filled = self._api, self._cache, self._queue
        self._own_watches = [
            list_watch.watch_leases(settings, self._partition_namespace, *filled),
            *(list_watch.watch_workloads(kind, settings, *filled) for kind in kinds.built_in()),
            list_watch.watch_pods(settings, *filled),
        ]
        #: Kinds of workload that the operator has no right to.
        self._unseen_kinds: list[WorkloadKind] = []
        self._ages = WatchAges(settings.watch_stale_seconds)
        self._has_begun = False

    async def _reconcile(self, uid: str) -> float | None:
        return await partition_book.work_and_enqueue(
            self._reconciler.reconcile, uid, self._cache.partitions, self._queue
        )

    def _inventory(self) -> Inventory:
        return self._file.current().inventory

    def _tell_refused_file(self, why: str) -> None:
        terms = self._lease_terms()
        lease = Subject(LEASES.version, "Lease", terms.namespace, terms.name)
        self._poster.post_about(lease, Announcement("Warning", "RuntimesRefused", why))

    def _use_runtimes(self) -> None:
        """Let the runs line up for the partitions that there are now, and reconcile all that are not over."""
        runs = tuple(self._cache.runs())
        self._cache.partitions.offer(self._inventory(), runs)
        for run in runs:
            if "completionTime" not in run.status:
                self._queue.add(run.uid)

    async def run(self) -> None:
        """Work until told to stop. StartError and LeaseLostError say what else ended it."""
        self._publish_figures()
        told = asyncio.Event()
        listen_to_signals(told.set)
        server = await self._serve()
        try:
            await _until_the_first_ends(told.wait(), self._live(told.set))
            logger.info("told to stop")
        finally:
            await self._give_back_lease()
            await server.close()

    async def _live(self, stop: Callable[[], None]) -> None:
        lease_namespace = self._lease_terms().namespace if self._leadership else None
        added = filter(self._file.current().make, kinds.added())
        rights = preflight.needed_rights(
            self._settings.namespace, lease_namespace, self._partition_namespace, added=added
        )
        await preflight.check_prerequisites(self._api, self._settings.namespace, rights)
        self._has_begun = True
        if self._leadership:
            await self._leadership.acquire()
        self._metrics.leader.set(1)
        keep_lease = [self._leadership.keep()] if self._leadership else []
        await _until_the_first_ends(*keep_lease, self._work(stop))

    async def _work(self, stop: Callable[[], None]) -> None:
        for kind in kinds.added():
            await until_answered(f"looking for {kind.name}s", partial(self._find_workloads, kind))
        await _until_the_first_ends(*self._parts(), self._watch(stop))

    async def _find_workloads(self, kind: WorkloadKind) -> None:
        """Watch a kind that a runtime makes, or of which runs have some from a runtime that is no longer offered."""
        finds = self._file.current().make(kind) or await preflight.finds_workloads(
            self._api, kind, self._settings.namespace
        )
        if finds:
            self._own_watches.append(
                list_watch.watch_workloads(kind, self._settings, self._api, self._cache, self._queue)
            )
        if finds is None:
            self._unseen_kinds.append(kind)

    def _warn_of_unseen_workloads(self) -> None:
        for kind in self._unseen_kinds:
            makers = (children.maker_of(pod, kind.name) for pod in self._cache.pods())
            if names := sorted(filter(None, makers)):
                logger.warning(
                    "no right to %ss, which runs still have (%s): these runs cannot be suspended or ended; set the "
                    "chart's rbac.keep%ss, or give the right to %s of %s, until they are over",
                    kind.name,
                    ", ".join(names),
                    kind.name,
                    kind.plural,
                    kind.group,
                )

    async def _serve(self) -> HealthServer:
        server = HealthServer(
            live=(self._check_watches, self._check_queue),
            ready=(self._check_start, self._ages.check),
            metrics=self._metrics,
        )
        port = self._settings.health_port
        try:
            await server.listen(port)
        except OSError as problem:
            text = (
                f"cannot listen on port {port} for /healthz and /metrics: {problem.strerror}; set OPERATOR_HEALTH_PORT"
            )
            raise StartError(text, EXIT_CONFIG) from problem
        return server

    async def _watch(self, stop: Callable[[], None]) -> None:
        await until_answered("listing what there is", self._fill)
        self._warn_of_unseen_workloads()
        self._ages.expect(own.plural for own in self._own_watches)
        take_signals = partial(listen_to_signals, stop)
        await _until_the_first_ends(
            kopf_watches.watch_by_kopf(
                self._settings, self._access, self._cache, self._queue, self._ages, take_signals
            ),
            *(own.run(self._ages.seen) for own in self._own_watches),
        )

    async def _fill(self) -> None:
        """Show the cache everything that runs have before it sees the first run."""
        for own in self._own_watches:
            await own.fill()
        if self._file.current().have_pools:
            await self._resync.fill_queue()
        self._resync.enqueue_holders()

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        settings = self._settings
        progress = ProgressClient(
            self._cache,
            self._queue,
            self._metrics,
            every_seconds=settings.progress_seconds,
            timeout_seconds=settings.progress_timeout_seconds,
            parallel=settings.progress_parallel,
        )
        return [
            self._queue.run(),
            self._poster.run(lambda: self._queue.depth() > 0),
            progress.run(),
            self._resync.run(settings.resync_seconds),
            self._file.run(settings.runtimes_seconds, self._use_runtimes),
        ]

    async def _give_back_lease(self) -> None:
        if self._leadership is None:
            return
        try:
            await self._leadership.release()
        except (ClusterError, RefusedError) as problem:
            logger.warning("the Lease is not given back, and ends by itself: %s", problem)

    def _lease_terms(self) -> LeaseTerms:
        settings = self._settings
        namespace = settings.lease_namespace or self._access.namespace
        return LeaseTerms(namespace, settings.lease_name, settings.identity, settings.lease_seconds)

    def _publish_figures(self) -> None:
        metrics = self._metrics
        metrics.add_collector(RunFigures(self._cache.runs))
        metrics.add_collector(PartitionFigures(self._cache.partitions.uses, self._cache.partitions.in_use))
        metrics.watch("wft_queue_depth", self._queue.depth)
        metrics.watch("wft_queue_oldest_seconds", self._queue.oldest_seconds)
        metrics.watch("wft_runs_of_others", self._other_installations.count)
        metrics.watch("wft_watch_silence_seconds", self._ages.oldest_seconds)

    def _check_start(self) -> str | None:
        return None if self._has_begun else "waiting for the API server: see the log"

    def _check_watches(self) -> str | None:
        return self._ages.check_of_life(self._api.answering_since, self._api.answered_at)

    def _check_queue(self) -> str | None:
        stalled = self._queue.stalled_seconds()
        stuck = stalled > self._settings.stuck_seconds
        return f"runs wait, and no pass has ended for {stalled:.0f} s" if stuck else None


def _installation(settings: Settings, namespace: str) -> Installation:
    return Installation(namespace, settings.lease_name, frozenset(settings.take_over), settings.operator_class)


def _object_cache(own: Installation, offered: Callable[[], Runtimes]) -> ObjectCache:
    """Return the cache of all runs' objects. Only runs of this installation join its queue for partitions."""

    def is_ours(run: Run) -> bool:
        return own.serves(run) and own.follower_before(run) is None

    def need_of(run: Run) -> QueuedRun | None:
        return partition_steps.queue_entry_of(run, offered()) if is_ours(run) else None

    return ObjectCache(PartitionBook(need_of, offered().inventory), is_ours)


def listen_to_signals(stop: Callable[[], None]) -> None:
    """Call `stop` in this event loop on SIGTERM and Ctrl+C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


async def _until_the_first_ends(*parts: Coroutine[Any, Any, object]) -> None:
    """Run all until the first one ends, end the others, and raise what ended it."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()


def _always() -> None:
    """Do nothing: without an election the only replica may always act."""
