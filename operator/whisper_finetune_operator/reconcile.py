"""Look at all of a run, decide, write the status, act: once for each key that the queue hands out."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from whisper_finetune_api import reading
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.acting.actor import Actor
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.acting.event_poster import EventPoster
from whisper_finetune_operator.acting.installations import Installation, OtherInstallations, is_open_to_all
from whisper_finetune_operator.acting.partition_actor import PartitionActor, PartitionCluster
from whisper_finetune_operator.api.errors import ClusterError, ConflictError, RefusedError
from whisper_finetune_operator.api.leader_election import LeaseLostError
from whisper_finetune_operator.deciding import decisions
from whisper_finetune_operator.deciding.decisions import Decision
from whisper_finetune_operator.deciding.status import announce_change
from whisper_finetune_operator.kubernetes_objects import controller_of, run_uid_of
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.children import has_ended
from whisper_finetune_operator.workloads.kinds import KINDS

logger = logging.getLogger(__name__)

#: How often one look may find that the world is not what it decided on, before it leaves the rest to the next look.
MAX_ROUNDS = 6


class Reconciler:
    """Brings each run to where it should be, whatever happened to it; asking twice does nothing twice."""

    def __init__(
        self,
        cache: ObjectCache,
        cluster: Cluster,
        leases: PartitionCluster,
        runtimes: Runtimes,
        poster: EventPoster,
        metrics: Metrics,
        *,
        require_leadership: Callable[[], None],
        other_installations: OtherInstallations | None = None,
    ) -> None:
        self._cache = cache
        self._other_installations = other_installations or OtherInstallations(Installation(), poster)
        self._cluster = cluster
        self._runtimes = runtimes
        self._poster = poster
        self._metrics = metrics
        self._require_leadership = require_leadership
        #: What the last look at a run failed by, by the run's UID.
        self._told: dict[str, str] = {}
        #: What of a run another version wrote, and was not understood at the last look.
        self._remarks: dict[str, tuple[str, ...]] = {}
        self._partitions = PartitionActor(cache, cluster, leases, require_leadership=require_leadership)
        self._actor = Actor(cache, cluster, self._partitions, poster, metrics, require_leadership=require_leadership)

    async def reconcile(self, uid: str) -> float | None:
        """Look at a run; return after how many seconds to look again, or None."""
        with self._metrics.reconcile_seconds.time():
            again_seconds = await self._reconcile(uid)
        self._told.pop(uid, None)
        return again_seconds

    async def _reconcile(self, uid: str) -> float | None:
        for _ in range(MAX_ROUNDS):
            run = self._cache.run(uid)
            if run is None:
                self._remarks.pop(uid, None)
                self._other_installations.forget(uid)
                return await self._partitions.give_back_of_deleted(uid)
            if self._other_installations.is_followed_by_other(run):
                return None
            self._require_leadership()
            decision = await self._once(run)
            if decision:
                self._metrics.reconciles.labels("done").inc()
                return decision.requeue_seconds
        raise ConflictError("the run's objects change while they are looked at")

    def report_failure(self, uid: str, problem: Exception, again_seconds: float) -> None:
        """Say why a look failed: what may pass by itself in a word, what is a fault of ours with its traceback."""
        expected = isinstance(problem, ClusterError | RefusedError | LeaseLostError)
        self._metrics.reconciles.labels(type(problem).__name__ if expected else "fault").inc()
        level = logging.INFO if isinstance(problem, ConflictError) else logging.WARNING if expected else logging.ERROR
        if expected and self._told.get(uid) == str(problem):
            # A right that is missing is not given by complaining at each look.
            level = logging.DEBUG
        self._told[uid] = str(problem)
        run = self._cache.run(uid)
        logger.log(
            level,
            "looking again in %.1f s: %s",
            again_seconds,
            str(problem) or type(problem).__name__,
            extra=about(run) if run else {"uid": uid},
            exc_info=None if expected else problem,
        )

    async def _once(self, run: Run) -> Decision | None:
        """Decide and act; None where it must be decided anew."""
        await self._refresh_unwatched(run)
        world = self._cache.world(run, datetime.now(UTC))
        decision = decisions.decide(world, self._runtimes)
        self._say(run, decision.remarks)
        if await self._actor.prepare(run, decision.actions):
            return None
        if self._is_news(run, decision):
            await self._write_status(run, decision.status)
        self._cache.drop_departed(world.pods)
        return decision if await self._actor.act(run, decision.actions) else None

    def _is_news(self, run: Run, decision: Decision) -> bool:
        """Return whether the status is to be written, also where it says the same and is to be nobody's from now on."""
        if is_open_to_all(decision.status):
            return not self._other_installations.have_said(run, decision.status)
        return decision.changed

    def _say(self, run: Run, remarks: tuple[str, ...]) -> None:
        """Tell once what another version wrote and this one leaves out."""
        for remark in remarks:
            if remark not in self._remarks.get(run.uid, ()):
                logger.info("not understood and left out: %s", remark, extra=about(run))
        self._remarks[run.uid] = remarks

    async def _refresh_unwatched(self, run: Run) -> None:
        """Read a workload anew that no watch tells of: it lacks the run's label, by the cache or by its pod alone."""
        known = self._cache.workload_of(run)
        kind = self._kind_at_work(run) if known is None else None if run_uid_of(known) == run.uid else known["kind"]
        if kind is None:
            return
        try:
            current = await self._cluster.find(kind, run.namespace, run.child_name)
        except RefusedError:
            if KINDS[kind] in kinds.built_in():
                raise
            # The right to it may be gone with the last runtime that made some: the pod alone tells of the attempt.
            return
        if current is not None:
            await self._actor.note_found(run, kind, current)
        elif known is not None:
            self._cache.forget_workload(kind, known)

    def _kind_at_work(self, run: Run) -> str | None:
        """Return the kind of what made the pod that may be running."""
        kinds = {controller_of(pod).get("kind") for pod in self._cache.pods_of(run) if not has_ended(pod)}
        return next((kind for kind in KINDS if kind in kinds), None)

    async def _write_status(self, run: Run, status: WhisperFineTuneStatus) -> None:
        self._cache.put_run(await self._cluster.apply_status(run, status))
        before = reading.read_leniently(WhisperFineTuneStatus, run.status).model
        announcement = announce_change(before, status)
        if announcement:
            self._poster.post(run, announcement)
            logger.info("%s: %s", announcement.reason, announcement.note, extra=about(run))
        self._metrics.status_changed(run, before, status)
