"""Do what was decided about a run. Where it matters, ask the API server for what the cache does not know yet."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from whisper_finetune_api import reading
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator import next_steps
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.acting.event_poster import EventPoster
from whisper_finetune_operator.acting.partition_actor import PartitionActor
from whisper_finetune_operator.api.errors import ConflictError, NotFoundError, RefusedError
from whisper_finetune_operator.deciding.status import Announcement, announce_change
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, controller_of, run_uid_of, uid_of
from whisper_finetune_operator.next_steps import Action
from whisper_finetune_operator.observability.logs import about
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.partitions.partition_leases import partition_of
from whisper_finetune_operator.planning import manifest
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.children import has_ended
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.workloads.workload_kind import QUEUE_LABEL
from whisper_finetune_operator.world import Refusal

logger = logging.getLogger(__name__)


class Actor:
    """Acts for one replica as long as it is the leader. Each action checks that anew."""

    def __init__(
        self,
        cache: ObjectCache,
        cluster: Cluster,
        partitions: PartitionActor,
        poster: EventPoster,
        metrics: Metrics,
        *,
        require_leadership: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._cluster = cluster
        self._partitions = partitions
        self._poster = poster
        self._metrics = metrics
        self._require_leadership = require_leadership

    async def refresh_unwatched(self, run: Run) -> None:
        """Read a workload anew that no watch shows, because it lacks the run's label.

        The cache knows it without the label, or its pod alone tells of it.
        """
        known = self._cache.workload_of(run)
        kind = self._kind_at_work(run) if known is None else None if run_uid_of(known) == run.uid else known["kind"]
        if kind is None:
            return
        try:
            current = await self._cluster.find(kind, run.namespace, run.child_name)
        except RefusedError:
            if KINDS[kind] in kinds.built_in():
                raise
            # The right to it may have gone with the last runtime that made some. Then the pod alone tells of the
            # attempt.
            return
        if current is not None:
            await self._note_found(run, kind, current)
        elif known is not None:
            self._cache.forget_workload(kind, known)

    def _kind_at_work(self, run: Run) -> str | None:
        """Return the kind of the workload that made the pod that may be running."""
        kinds = {controller_of(pod).get("kind") for pod in self._cache.pods_of(run) if not has_ended(pod)}
        return next((kind for kind in KINDS if kind in kinds), None)

    async def prepare(self, run: Run, wanted: tuple[Action, ...]) -> bool:
        """Do what comes before the status is written. Return whether the decision must be made anew after that."""
        news = False
        for action in wanted:
            if isinstance(action, next_steps.ReadRefusal):
                news |= await self._read_refusal(run, action)
            elif isinstance(action, next_steps.ReadObstacle):
                news |= await self._read_obstacle(run, action)
            elif isinstance(action, next_steps.ReadQueue):
                news |= await self._read_queue(run, action)
            elif isinstance(action, next_steps.TakePartition):
                self._require_leadership()
                await self._partitions.take(run, action)
                news = True
        return news

    async def write_status(self, run: Run, status: WhisperFineTuneStatus) -> None:
        """Write the status. Tell what is new in it by an Event, the log and the metrics."""
        self._cache.put_run(await self._cluster.apply_status(run, status))
        before = reading.read_leniently(WhisperFineTuneStatus, run.status).model
        announcement = announce_change(before, status)
        if announcement:
            self._poster.post(run, announcement)
            logger.info("%s: %s", announcement.reason, announcement.note, extra=about(run))
        self._metrics.status_changed(run, before, status)

    async def give_back_of_deleted(self, run_uid: str) -> float | None:
        """Give back the partitions of a run that is gone. Return after how many seconds to try again, or None."""
        return await self._partitions.give_back_of_deleted(run_uid)

    async def act(self, run: Run, wanted: tuple[Action, ...]) -> bool:
        """Do the rest in its order. Return False where the decision must be made anew: then nothing further is done."""
        for action in wanted:
            if not await self._do(run, action):
                return False
        return True

    async def _do(self, run: Run, action: Action) -> bool:
        self._require_leadership()
        match action:
            case next_steps.CreateWorkload():
                return await self._create(run, action)
            case next_steps.StartWorkload():
                return await self._start(run, action)
            case next_steps.DeleteWorkload():
                await self._delete(run, action)
            case next_steps.EndWorkload():
                await self._patch(run, action, {"activeDeadlineSeconds": 1})
            case next_steps.AllowRetries():
                await self._patch(run, action, {"backoffLimit": action.backoff_limit})
            case next_steps.MoveToQueue():
                return await self._move(run, action)
            case next_steps.KeepFor():
                await self._patch(run, action, {"ttlSecondsAfterFinished": action.seconds})
            case next_steps.GiveBackPartition():
                return await self._give_back(run, action)
            case (
                next_steps.ReadRefusal()
                | next_steps.ReadObstacle()
                | next_steps.ReadQueue()
                | next_steps.TakePartition()
            ):
                # It was done by `prepare`.
                pass
        return True

    async def _read_refusal(self, run: Run, wanted: next_steps.ReadRefusal) -> bool:
        """Read why the Job has no pod, and return whether that is news."""
        known = self._cache.refusal_of(run)
        refusal = await self._cluster.refusal_of(wanted.kind, run.namespace, wanted.uid)
        self._cache.keep_refusal(run, refusal)
        kept = self._cache.refusal_of(run)
        return (kept and kept.message) != (known and known.message)

    async def _read_obstacle(self, run: Run, wanted: next_steps.ReadObstacle) -> bool:
        """Read why the pod does not begin, and return whether that is news."""
        found = await self._cluster.obstacle_of(run.namespace, wanted.pod_uid)
        return self._cache.keep_obstacle(run.uid, wanted.pod_uid, found)

    async def _read_queue(self, run: Run, wanted: next_steps.ReadQueue) -> bool:
        """Read why the Job waits in its queue, and return whether that is news."""
        notice = await self._cluster.queue_notice_of(run.namespace, wanted.job_uid)
        return self._cache.keep_queue_notice(run.uid, wanted.job_uid, notice)

    async def _create(self, run: Run, wanted: next_steps.CreateWorkload) -> bool:
        if await self._finds_unseen(run, wanted):
            return False
        if wanted.lease and not await self._partitions.renew(wanted.lease):
            return False
        was_refused = self._cache.refusal_of(run) is not None
        self._require_leadership()
        try:
            created = await self._cluster.create(wanted.manifest)
        except ConflictError:
            await self._read_anew(run, wanted.manifest["kind"], wanted.manifest["metadata"]["name"])
            return False
        except (RefusedError, NotFoundError) as refused:
            self._cache.keep_refusal(run, Refusal(_why(refused, wanted.manifest), datetime.now(UTC)))
            # Where the decision knew of a refusal already, the status says so, and when to try again.
            return was_refused
        self._note_created(run, created, wanted.warnings)
        # A workload that was made suspended is started at once.
        return not was_refused and not wanted.lease

    def _note_created(self, run: Run, created: KubernetesObject, warnings: tuple[str, ...]) -> None:
        self._cache.put_workload(created["kind"], created)
        self._metrics.job_created(run)
        logger.info("%s %s created", created["kind"], created["metadata"]["name"], extra=about(run))
        if warnings:
            self._poster.post(run, Announcement("Warning", "PlanWarning", "; ".join(warnings)))

    async def _start(self, run: Run, wanted: next_steps.StartWorkload) -> bool:
        if not await self._partitions.renew(wanted.lease):
            return False
        self._require_leadership()
        try:
            started = await self._cluster.start_workload(
                wanted.kind, run.namespace, wanted.name, wanted.uid, wanted.resource_version
            )
        except (ConflictError, NotFoundError):
            await self._read_anew(run, wanted.kind, wanted.name)
            return False
        self._cache.put_workload(wanted.kind, started)
        return True

    async def _move(self, run: Run, wanted: next_steps.MoveToQueue) -> bool:
        labels = {QUEUE_LABEL: wanted.queue}
        try:
            moved = await self._cluster.relabel(wanted.kind, run.namespace, wanted.name, wanted.uid, labels)
        except (ConflictError, NotFoundError):
            await self._read_anew(run, wanted.kind, wanted.name)
            return False
        self._cache.put_workload(wanted.kind, moved)
        return True

    async def _finds_unseen(self, run: Run, wanted: next_steps.CreateWorkload) -> bool:
        """Return whether the run has something that the cache did not know, and that may work for it."""
        if wanted.check_pods_first and await self._finds_unseen_pods(run):
            return True
        return not KINDS[wanted.manifest["kind"]].claims_its_run and await self._finds_claim(run)

    async def _finds_claim(self, run: Run) -> bool:
        """Ask for a workload of a kind that is made before any status.

        Another installation, which knows the run's runtime as such a kind, may just have made one.
        """
        for kind in kinds.claiming():
            found = await self._cluster.find(kind.name, run.namespace, run.child_name)
            if found is not None:
                await self._note_found(run, kind.name, found)
                return True
        return False

    async def _finds_unseen_pods(self, run: Run) -> bool:
        """Ask the API server: a watch may show a Job's deletion before the pod that the Job has just made."""
        news = [
            pod for pod in await self._cluster.pods_of(run.namespace, run.name, run.uid) if self._cache.put_pod(pod)
        ]
        return bool(news)

    async def _has_workload_for(self, run: Run, lease_name: str) -> bool:
        """Ask the API server for a workload that has a pod there or could start late, whatever the cache shows."""
        for kind in kinds.on_partitions():
            found = await self._cluster.find(kind.name, run.namespace, run.child_name)
            if found is None or controller_of(found).get("uid") != run.uid:
                continue
            self._cache.put_workload(kind.name, found)
            if kind.read(found, ()).end is None and partition_of(found) in (None, lease_name):
                return True
        return False

    async def _has_pods_on(self, run: Run, lease_name: str) -> bool:
        """Ask the API server, whatever the cache shows, for pods that may run there."""
        pods = await self._cluster.pods_of(run.namespace, run.name, run.uid)
        for pod in pods:
            self._cache.put_pod(pod)
        # A run that two leaders took a partition for works on one of them and gives the other back.
        return any(not has_ended(pod) and partition_of(pod) in (None, lease_name) for pod in pods)

    async def _read_anew(self, run: Run, kind: str, name: str) -> None:
        found = await self._cluster.find(kind, run.namespace, name)
        if found is not None:
            await self._note_found(run, kind, found)
        elif known := self._cache.workload_of(run):
            self._cache.forget_workload(kind, known)

    async def _note_found(self, run: Run, kind: str, found: KubernetesObject) -> None:
        """Keep what the API server has under the child's name.

        A workload of the run that lost its label is shown by no watch, and its name is taken. It gets the label back.
        """
        if controller_of(found).get("uid") == run.uid and run_uid_of(found) != run.uid:
            name = found["metadata"]["name"]
            logger.warning("%s %s had lost its labels, and gets them back", kind, name, extra=about(run))
            labels = manifest.labels_of_run(run)
            found = await self._cluster.relabel(kind, run.namespace, name, uid_of(found), labels)
        self._cache.put_found(kind, found)

    async def _delete(self, run: Run, wanted: next_steps.DeleteWorkload) -> None:
        logger.info("deleting %s %s: %s", wanted.kind, wanted.name, wanted.reason, extra=about(run))
        going = await self._cluster.delete(wanted.kind, run.namespace, wanted.name, wanted.uid)
        if going is not None:
            self._cache.put_workload(wanted.kind, going)

    async def _patch(
        self,
        run: Run,
        wanted: next_steps.EndWorkload | next_steps.AllowRetries | next_steps.KeepFor,
        spec: KubernetesObject,
    ) -> None:
        patched = await self._cluster.patch_workload(wanted.kind, run.namespace, wanted.name, wanted.uid, spec)
        if patched is not None:
            self._cache.put_workload(wanted.kind, patched)

    async def _give_back(self, run: Run, lease: next_steps.GiveBackPartition) -> bool:
        # In this order, because a Job that is over makes no further pod.
        if await self._has_workload_for(run, lease.name) or await self._has_pods_on(run, lease.name):
            return False
        self._require_leadership()
        return await self._partitions.give_back(lease)


def _why(refused: Exception, manifest: KubernetesObject) -> str:
    kind = KINDS[manifest["kind"]]
    if not isinstance(refused, NotFoundError) or kind.controller is None:
        return str(refused)
    return f"it does not know {kind.name} of {kind.api_version}; install {kind.controller}, or take another runtime"
