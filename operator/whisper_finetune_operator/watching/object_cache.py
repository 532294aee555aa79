"""The operator's view of the cluster: runs, workloads and pods, by the watches and by the operator's own writes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from whisper_finetune_api.run import TrainerReport
from whisper_finetune_operator.kubernetes_objects import (
    KubernetesObject,
    controller_of,
    object_key_of,
    run_uid_of,
    uid_of,
)
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching.cached_objects import ObjectVersions, slim_pod, slim_run, slim_workload
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.workloads.children import has_ended, is_attempt_of
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.world import QueueNotice, Refusal, Silence, World, without_numbers


class ObjectCache:
    """Finds everything of a run by its UID. Of two versions of an object the newer one stays, whoever brought it."""

    def __init__(self, partitions: PartitionBook, is_ours: Callable[[Run], bool] = lambda _: True) -> None:
        self.partitions = partitions
        #: Says whether this installation follows a run.
        self._is_ours = is_ours
        self._runs: dict[str, Run] = {}
        self._workloads: dict[tuple[str, str, str], KubernetesObject] = {}
        #: By the UID of the run in their label, then by their own. `pods_of` says whose they really are.
        self._pods: defaultdict[str, dict[str, KubernetesObject]] = defaultdict(dict)
        #: Pods that ended and are gone, until a decision has counted their end.
        self._departed: set[str] = set()
        #: By the run's UID: the pod, its newest report, and when that last changed.
        self._reports: dict[str, tuple[str, TrainerReport, datetime | None]] = {}
        #: By the run's UID: the pod that does not answer, and since when.
        self._silences: dict[str, tuple[str, Silence]] = {}
        #: By the run's UID: the UID of the Job whose pod was refused (empty where the Job itself was), and why.
        self._refusals: dict[str, tuple[str, Refusal]] = {}
        #: By the run's UID: the pod that its node cannot begin, and why not.
        self._obstacles: dict[str, tuple[str, Refusal]] = {}
        #: By the run's UID: the UID of the Job that waits for Kueue, and what Kueue says.
        self._queue_notices: dict[str, tuple[str, QueueNotice]] = {}
        self._versions = ObjectVersions()

    def run(self, uid: str) -> Run | None:
        return self._runs.get(uid)

    def runs(self) -> Iterator[Run]:
        """Yield every run. The cache must not change meanwhile."""
        return iter(self._runs.values())

    def workloads(self, kind: str) -> Iterator[KubernetesObject]:
        """Yield every workload of that kind. The cache must not change meanwhile."""
        return (workload for (each, _, _), workload in self._workloads.items() if each == kind)

    def pods(self) -> Iterator[KubernetesObject]:
        """Yield every pod with a run's label, whoever made it. The cache must not change meanwhile."""
        return (pod for pods in self._pods.values() for pod in pods.values())

    def attempts(self) -> Iterator[tuple[str, KubernetesObject]]:
        """Yield every pod that is an attempt of a run that is followed here, after the run's UID.

        The cache must not change meanwhile.
        """
        return ((run.uid, pod) for run in self._runs.values() if self._is_ours(run) for pod in self.pods_of(run))

    def world(self, run: Run, now: datetime) -> World:
        """Return all that is known of the run."""
        pods = self.pods_of(run)
        newest = uid_of(pods[-1]) if pods else None
        reporter, report, changed_at = self._reports.get(run.uid, (None, None, None))
        silent, silence = self._silences.get(run.uid, (None, None))
        hindered, obstacle = self._obstacles.get(run.uid, (None, None))
        queued, notice = self._queue_notices.get(run.uid, ("", None))
        return World(
            run=run,
            workload=self.workload_of(run),
            pods=pods,
            report=report if newest and newest == reporter else None,
            refusal=self.refusal_of(run),
            now=now,
            leases=self.partitions.leases_of(run.uid),
            partition_queue=self.partitions.queue(),
            obstacle=obstacle if newest and newest == hindered else None,
            report_changed_at=changed_at if newest and newest == reporter else None,
            silence=silence if newest and newest == silent else None,
            queue_notice=notice if queued == self._workload_uid(run) else None,
        )

    def workload_of(self, run: Run) -> KubernetesObject | None:
        """Return the workload under the name of the run's child: its own, else anybody's."""
        key = run.namespace, run.child_name
        found = [workload for kind in KINDS if (workload := self._workloads.get((kind, *key)))]
        own = (workload for workload in found if _is_child_of(workload, run))
        return next(own, found[0] if found else None)

    def pods_of(self, run: Run) -> tuple[KubernetesObject, ...]:
        """Return the run's attempts, oldest first."""
        pods = [pod for pod in self._pods.get(run.uid, {}).values() if _is_made_for(run, pod)]
        return tuple(sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])))

    def put_run(self, run: Mapping[str, Any]) -> bool:
        """Keep the run, and return whether it is news."""
        known = self._runs.get(uid_of(run))
        if not self._versions.is_news(run, known.resource_version if known else None):
            return False
        kept = self._runs[uid_of(run)] = Run.from_object(slim_run(run))
        if known is None:
            self._note_work(kept.uid)
        self.partitions.note_run(kept)
        return True

    def put_workload(self, kind: str, workload: Mapping[str, Any]) -> bool:
        """Keep the workload, and return whether it is news."""
        key = kind, *object_key_of(workload)
        known = self._workloads.get(key)
        # Versions grow over all objects, so of a workload and its successor the newer one stays too.
        if not self._versions.is_news(workload, known["metadata"]["resourceVersion"] if known else None):
            return False
        self._workloads[key] = kept = slim_workload(kind, workload)
        for each in (known, kept):
            if each is not None:
                self._note_work(_owner_of(each))
        return True

    def put_found(self, kind: str, workload: Mapping[str, Any]) -> None:
        """Keep the workload that the API server has just returned when it was asked for this one."""
        self._versions.note_found(uid_of(workload))
        self.put_workload(kind, workload)

    def put_pod(self, pod: Mapping[str, Any]) -> bool:
        """Keep the pod, and return whether it is news."""
        known = self._pods.get(run_uid_of(pod), {}).get(uid_of(pod))
        if not self._versions.is_news(pod, known["metadata"]["resourceVersion"] if known else None):
            return False
        self._pods[run_uid_of(pod)][uid_of(pod)] = slim_pod(pod)
        self._note_work(run_uid_of(pod))
        return True

    def keep_report(self, run_uid: str, pod_uid: str, report: TrainerReport, now: datetime) -> None:
        """Keep the newest answer of a run's pod."""
        if run_uid in self._runs:
            known_uid, known, changed_at = self._reports.get(run_uid, (None, None, None))
            if known_uid == pod_uid:
                changed_at = changed_at if known == report else now
            else:
                changed_at = None
            self._reports[run_uid] = pod_uid, report, changed_at
            self._silences.pop(run_uid, None)

    def keep_silence(self, run_uid: str, pod_uid: str, silence: Silence) -> Silence | None:
        """Keep that a run's pod does not answer. Return since when it has not, or None for an unknown run."""
        if run_uid not in self._runs:
            return None
        known_uid, known = self._silences.get(run_uid, ("", silence))
        since = known.since if known_uid == pod_uid else silence.since
        kept = Silence(since, silence.problem)
        self._silences[run_uid] = pod_uid, kept
        return kept

    def keep_obstacle(self, run_uid: str, pod_uid: str, obstacle: Refusal | None) -> bool:
        """Keep why a run's pod does not begin. None: nothing is known. Return whether that is news."""
        known_uid, known = self._obstacles.pop(run_uid, ("", None))
        known = known if known_uid == pod_uid else None
        if obstacle is not None and run_uid in self._runs:
            self._obstacles[run_uid] = pod_uid, obstacle.after(known)
        kept = self._obstacles.get(run_uid)
        return (kept and kept[1].message) != (known and known.message)

    def keep_queue_notice(self, run_uid: str, job_uid: str, notice: QueueNotice | None) -> bool:
        """Keep what Kueue says of a run's Job. None: nothing. Return whether that is news. Other numbers are none."""
        known = self._queue_notices.pop(run_uid, None)
        if notice is not None and run_uid in self._runs:
            told_before = known if known and known[0] == job_uid and _say_the_same(known[1], notice) else None
            self._queue_notices[run_uid] = told_before or (job_uid, notice)
        return self._queue_notices.get(run_uid) != known

    def keep_refusal(self, run: Run, refusal: Refusal | None) -> None:
        """Keep why the pod of the run's Job is refused or, where it has no Job, the Job itself. None: it is not."""
        if refusal is None:
            self._refusals.pop(run.uid, None)
        elif run.uid in self._runs:
            self._refusals[run.uid] = self._workload_uid(run), refusal.after(self.refusal_of(run))

    def refusal_of(self, run: Run) -> Refusal | None:
        """Return what is refused of the run's present Job. What was refused of an earlier one no longer counts."""
        workload_uid, refusal = self._refusals.get(run.uid, ("", None))
        return refusal if workload_uid == self._workload_uid(run) else None

    def _workload_uid(self, run: Run) -> str:
        workload = self.workload_of(run)
        return uid_of(workload) if workload else ""

    def forget_run(self, uid: str) -> None:
        self._versions.remember_deletion(uid)
        for kept in (self._runs, self._reports, self._silences, self._refusals, self._obstacles, self._queue_notices):
            kept.pop(uid, None)
        self.partitions.forget_run(uid)
        self.drop_departed(list(self._pods.get(uid, {}).values()))

    def forget_workload(self, kind: str, workload: Mapping[str, Any]) -> None:
        self._versions.remember_deletion(uid_of(workload))
        key = kind, *object_key_of(workload)
        known = self._workloads.get(key)
        if known is not None and uid_of(known) == uid_of(workload):
            self._note_work(_owner_of(self._workloads.pop(key)))

    def forget_pod(self, pod: Mapping[str, Any]) -> None:
        """Forget a deleted pod, given as it was last seen.

        One that ended stays until a decision has counted its end.
        """
        # The operator never writes to pods, so no late answer can bring one back.
        self._versions.remember_deletion(uid_of(pod), pod["metadata"]["resourceVersion"])
        run = self._runs.get(run_uid_of(pod))
        if has_ended(pod) and run is not None and _is_made_for(run, dict(pod)):
            self._pods[run_uid_of(pod)][uid_of(pod)] = slim_pod(pod)
            self._departed.add(uid_of(pod))
            self._note_work(run_uid_of(pod))
        else:
            self._drop_pod(pod)

    def drop_departed(self, pods: Iterable[KubernetesObject]) -> None:
        """Drop those of the pods that are gone. The run's status has counted their ends."""
        for pod in pods:
            if uid_of(pod) in self._departed:
                self._drop_pod(pod)

    def _drop_pod(self, pod: Mapping[str, Any]) -> None:
        self._departed.discard(uid_of(pod))
        pods = self._pods[run_uid_of(pod)]
        pods.pop(uid_of(pod), None)
        if not pods:
            del self._pods[run_uid_of(pod)]
        self._note_work(run_uid_of(pod))

    def _note_work(self, run_uid: str) -> None:
        run = self._runs.get(run_uid)
        self.partitions.note_work(run_uid, is_at_work=run is not None and self._is_at_work(run))

    def _is_at_work(self, run: Run) -> bool:
        workload = self.workload_of(run)
        has_child = workload is not None and _is_child_of(workload, run)
        return has_child or not all(map(has_ended, self.pods_of(run)))


def _is_child_of(workload: KubernetesObject, run: Run) -> bool:
    return _owner_of(workload) == run.uid


def _is_made_for(run: Run, pod: KubernetesObject) -> bool:
    return pod["metadata"]["namespace"] == run.namespace and is_attempt_of(pod, run.name, run.uid)


def _owner_of(workload: KubernetesObject) -> str:
    owner: str = controller_of(workload).get("uid", "")
    return owner


def _say_the_same(known: QueueNotice, read: QueueNotice) -> bool:
    """Return whether both differ in numbers alone, such as how much of a quota is missing at the moment."""
    same_words = replace(read, message=known.message) == known
    return same_words and without_numbers(known.message) == without_numbers(read.message)
