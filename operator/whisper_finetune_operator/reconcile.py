"""Look at all of a run, decide, write the status, act: once for each key that the queue hands out."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator import actions, announcements, decisions
from whisper_finetune_operator.api_server import ClusterError, ConflictError, RefusedError
from whisper_finetune_operator.children import run_uid_of
from whisper_finetune_operator.cluster import Cluster
from whisper_finetune_operator.decisions import Decision
from whisper_finetune_operator.event_poster import EventPoster
from whisper_finetune_operator.lease import LeaseLostError
from whisper_finetune_operator.logs import about
from whisper_finetune_operator.metrics import Metrics
from whisper_finetune_operator.runtimes import Runtimes
from whisper_finetune_operator.store import Store
from whisper_finetune_operator.world import KubernetesObject, Refusal, Run

logger = logging.getLogger(__name__)

#: How often one look may find that the world is not what it decided on, before it leaves the rest to the next look.
MAX_ROUNDS = 4


class Reconciler:
    """Brings each run to where it should be, whatever happened to it; asking twice does nothing twice."""

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        runtimes: Runtimes,
        poster: EventPoster,
        metrics: Metrics,
        *,
        require_leadership: Callable[[], None],
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._runtimes = runtimes
        self._poster = poster
        self._metrics = metrics
        self._require_leadership = require_leadership

    async def reconcile(self, uid: str) -> float | None:
        """Look at a run; return after how many seconds to look again, or None."""
        with self._metrics.reconcile_seconds.time():
            for _ in range(MAX_ROUNDS):
                run = self._store.run(uid)
                if run is None:
                    return None
                self._require_leadership()
                decision = await self._once(run)
                if decision:
                    self._metrics.reconciles.labels("done").inc()
                    return decision.recheck_seconds
        raise ConflictError("the run's objects change while they are looked at")

    def report_failure(self, uid: str, problem: Exception, again_seconds: float) -> None:
        """Say why a look failed: what may pass by itself in a word, what is a fault of ours with its traceback."""
        expected = isinstance(problem, ClusterError | RefusedError | LeaseLostError)
        self._metrics.reconciles.labels(type(problem).__name__ if expected else "fault").inc()
        level = logging.INFO if isinstance(problem, ConflictError) else logging.WARNING if expected else logging.ERROR
        run = self._store.run(uid)
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
        await self._refresh_unwatched_job(run)
        world = self._store.world(run, datetime.now(UTC))
        decision = decisions.decide(world, self._runtimes)
        if await self._look_for_refusal(run, decision.actions):
            return None
        if decision.changed:
            await self._write_status(run, decision.status)
        self._store.drop_departed(world.pods)
        return decision if await self._act(run, decision.actions) else None

    async def _refresh_unwatched_job(self, run: Run) -> None:
        """Read a foreign Job under the child's name anew: no watch tells of its end."""
        job = self._store.job_of(run)
        if job is None or run_uid_of(job):
            return
        current = await self._cluster.find_job(run.namespace, job["metadata"]["name"])
        if current is None:
            self._store.forget_job(job)
        else:
            self._store.put_job(current)

    async def _look_for_refusal(self, run: Run, wanted: tuple[actions.Action, ...]) -> bool:
        """Read why the Job has no pod where the decision asks for it; say whether that is news."""
        look = next((action for action in wanted if isinstance(action, actions.LookForRefusal)), None)
        if look is None:
            return False
        known = self._store.refusal_of(run)
        refusal = await self._cluster.refusal_of(run.namespace, look.uid)
        self._store.keep_refusal(run, refusal)
        return refusal != known

    async def _write_status(self, run: Run, status: WhisperFineTuneStatus) -> None:
        self._store.put_run(await self._cluster.apply_status(run, status))
        before = WhisperFineTuneStatus.model_validate(run.status)
        announcement = announcements.announce(before, status)
        if announcement:
            self._poster.post(run, announcement)
            logger.info("%s: %s", announcement.reason, announcement.note, extra=about(run))
        self._metrics.status_changed(run, before, status)

    async def _act(self, run: Run, wanted: tuple[actions.Action, ...]) -> bool:
        """Do what was decided; False where it must be decided anew."""
        return all([await self._do(run, action) for action in wanted])

    async def _do(self, run: Run, action: actions.Action) -> bool:
        match action:
            case actions.CreateWorkload(manifest, look_first):
                return await self._create(run, manifest, look_first=look_first)
            case actions.DeleteWorkload(name, uid, reason):
                await self._delete(run, name, uid, reason)
            case actions.EndWorkload(name, uid):
                await self._patch_job(run, name, uid, {"activeDeadlineSeconds": 1})
            case actions.AllowRetries(name, uid, backoff_limit):
                await self._patch_job(run, name, uid, {"backoffLimit": backoff_limit})
            case actions.KeepFor(name, uid, seconds):
                await self._patch_job(run, name, uid, {"ttlSecondsAfterFinished": seconds})
            case actions.LookForRefusal():
                pass
        return True

    async def _create(self, run: Run, manifest: KubernetesObject, *, look_first: bool) -> bool:
        if look_first and await self._finds_unseen_pods(run):
            return False
        was_refused = self._store.refusal_of(run) is not None
        try:
            job = await self._cluster.create_job(manifest)
        except ConflictError:
            return await self._take_notice_of_taken_name(run, manifest)
        except RefusedError as refused:
            self._store.keep_refusal(run, Refusal(str(refused), datetime.now(UTC)))
            # Where the decision knew of a refusal already, the status says so, and when to try again.
            return was_refused
        self._store.put_job(job)
        self._metrics.job_created(run)
        logger.info("Job %s created", job["metadata"]["name"], extra=about(run))
        return not was_refused

    async def _finds_unseen_pods(self, run: Run) -> bool:
        """Ask the server itself: a watch may show a Job's deletion before the pod that the Job has just made."""
        news = [pod for pod in await self._cluster.pods_of(run) if self._store.put_pod(pod)]
        return bool(news)

    async def _take_notice_of_taken_name(self, run: Run, manifest: KubernetesObject) -> bool:
        job = await self._cluster.find_job(run.namespace, manifest["metadata"]["name"])
        if job is not None:
            self._store.put_job(job)
        return False

    async def _delete(self, run: Run, name: str, uid: str, reason: str) -> None:
        logger.info("deleting Job %s: %s", name, reason, extra=about(run))
        job = await self._cluster.delete_job(run.namespace, name, uid)
        if job is not None:
            self._store.put_job(job)

    async def _patch_job(self, run: Run, name: str, uid: str, spec: KubernetesObject) -> None:
        job = await self._cluster.patch_job(run.namespace, name, uid, spec)
        if job is not None:
            self._store.put_job(job)
