"""One pass over a run: read all of it, decide, write the status, act. The workqueue says which run."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from whisper_finetune_operator.acting.actor import Actor
from whisper_finetune_operator.acting.installations import OtherInstallations, is_open_to_all
from whisper_finetune_operator.api.errors import ClusterError, ConflictError, RefusedError
from whisper_finetune_operator.api.leader_election import LeaseLostError
from whisper_finetune_operator.deciding import decisions
from whisper_finetune_operator.deciding.decisions import Decision
from whisper_finetune_operator.next_steps import CreateWorkload
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.workqueue import SETTLE_SECONDS

logger = logging.getLogger(__name__)

#: So often a pass may find that the world has changed since it decided. Then it leaves the rest to the next pass.
MAX_ROUNDS = 6


class Reconciler:
    """Brings each run to where it should be, whatever happened to it. Nothing is done twice where it is asked twice."""

    def __init__(
        self,
        cache: ObjectCache,
        actor: Actor,
        runtimes: Callable[[], Runtimes],
        other_installations: OtherInstallations,
        metrics: Metrics,
        *,
        require_leadership: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._actor = actor
        self._runtimes = runtimes
        self._other_installations = other_installations
        self._metrics = metrics
        self._require_leadership = require_leadership
        #: Why the last pass over a run failed, by the run's UID.
        self._told: dict[str, str] = {}
        #: What another version wrote of a run and the last pass did not understand, by the run's UID.
        self._remarks: dict[str, tuple[str, ...]] = {}

    async def reconcile(self, uid: str) -> float | None:
        """Reconcile a run. Return after how many seconds to do it again, or None."""
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
                return await self._actor.give_back_of_deleted(uid)
            if self._other_installations.is_followed_by_other(run, self._cache.workload_of(run)):
                return None
            self._require_leadership()
            decision = await self._once(run)
            if decision:
                self._metrics.reconciles.labels("done").inc()
                return decision.requeue_seconds
        raise ConflictError("the run's objects keep changing during the pass")

    def report_failure(self, uid: str, problem: Exception, again_seconds: float) -> None:
        """Log why a pass failed: a passing problem in one line, a fault of the operator's own with its traceback."""
        expected = isinstance(problem, ClusterError | RefusedError | LeaseLostError)
        self._metrics.reconciles.labels(type(problem).__name__ if expected else "fault").inc()
        level = logging.INFO if isinstance(problem, ConflictError) else logging.WARNING if expected else logging.ERROR
        if expected and self._told.get(uid) == str(problem):
            # Nobody gives a missing right any sooner because each pass complains.
            level = logging.DEBUG
        self._told[uid] = str(problem)
        run = self._cache.run(uid)
        logger.log(
            level,
            "reconciling again in %.1f s: %s",
            again_seconds,
            str(problem) or type(problem).__name__,
            extra=about(run) if run else {"uid": uid},
            exc_info=None if expected else problem,
        )

    async def _once(self, run: Run) -> Decision | None:
        """Decide and act. Return None where it must be decided anew."""
        await self._actor.refresh_unwatched(run)
        world = self._cache.world(run, datetime.now(UTC))
        decision = decisions.decide(world, self._runtimes())
        self._say(run, decision.remarks)
        if await self._actor.prepare(run, decision.actions):
            return None
        if decision.claim:
            return await self._claim(run, decision, decision.claim)
        if self._is_news(run, decision):
            await self._actor.write_status(run, decision.status)
        self._cache.drop_departed(world.pods)
        return decision if await self._actor.act(run, decision.actions) else None

    async def _claim(self, run: Run, decision: Decision, claim: CreateWorkload) -> Decision | None:
        """Make the run's first workload. Its status has its turn after the workloads of all other new runs."""
        return replace(decision, requeue_seconds=SETTLE_SECONDS) if await self._actor.act(run, (claim,)) else None

    def _is_news(self, run: Run, decision: Decision) -> bool:
        """Return whether the status is to be written. One that is open to all may say the same under nobody's name."""
        if is_open_to_all(decision.status):
            return not self._other_installations.have_said(run, decision.status)
        return decision.changed

    def _say(self, run: Run, remarks: tuple[str, ...]) -> None:
        """Log once what another version wrote and this one leaves out."""
        for remark in remarks:
            if remark not in self._remarks.get(run.uid, ()):
                logger.info("not understood and left out: %s", remark, extra=about(run))
        self._remarks[run.uid] = remarks
