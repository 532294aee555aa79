"""What reconciling asks of the cluster: a run's status, its workload, its pods, and why these are refused.

Why pods are refused or do not start, controllers and kubelets say in Events alone. The API server answers by reading
all Events of the namespace. So one list is for all runs there: one for each Job would cost the square of their number.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from whisper_finetune_api import reading, v1alpha1
from whisper_finetune_api.v1alpha1 import UID_LABEL, WhisperFineTuneStatus
from whisper_finetune_operator.acting.installations import Installation
from whisper_finetune_operator.api.api_server import (
    APPLY_PATCH,
    CORE_EVENTS,
    METADATA_ONLY,
    PODS,
    QUEUED,
    RUNS,
    ApiServer,
    resource_of,
)
from whisper_finetune_operator.api.errors import NotFoundError, RefusedError
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, parse_time, uid_of
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.children import is_attempt_of
from whisper_finetune_operator.workloads.job_kind import STARTED_ANNOTATION
from whisper_finetune_operator.workloads.kinds import KINDS
from whisper_finetune_operator.workloads.kueue_workloads import read_notices
from whisper_finetune_operator.world import QueueNotice, Refusal

T = TypeVar("T")
#: A list of this age is still used, and an older one where lists take long: they take at most this share of the time.
FRESH_SECONDS = 5.0
_SHARE_OF_TIME = 0.05
_FRESH_AT_MOST_SECONDS = 120.0
_KEPT_SECONDS = 600.0
#: How much of a name the API server keeps when it makes it unique, and the letters that it appends.
_BASE_MAX_LENGTH = 58
_GENERATED = re.compile(r"[bcdfghjklmnpqrstvwxz2456789]{5}\b")


@dataclass(frozen=True)
class EventKind:
    """Events that tell why something is refused."""

    selector: str
    #: Those that count among the selected Events: a selector can name only one reason.
    reasons: tuple[str, ...]


def events_about_workloads(kind: str) -> EventKind:
    """Return the Events by which the controller of a kind of workload says that it cannot make a pod."""
    return EventKind(f"reason=FailedCreate,involvedObject.kind={kind}", ("FailedCreate",))


#: By these a node says that it cannot begin a pod.
EVENTS_ABOUT_PODS = EventKind(
    "type=Warning,involvedObject.kind=Pod",
    ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"),
)


@dataclass(frozen=True)
class _Reading(Generic[T]):
    by_object: dict[str, T]
    read_at: float
    fresh_until: float


class NamespaceReadings(Generic[T]):
    """Knows what the last list of a namespace says of each object there."""

    def __init__(self, read: Callable[[str], Awaitable[dict[str, T] | None]]) -> None:
        """Take what lists a namespace. None: there is no such list, or no right to it."""
        self._list = read
        self._readings: dict[str, _Reading[T]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, namespace: str, uid: str) -> T | None:
        """Return what is said of the object with that UID."""
        async with self._locks[namespace]:
            reading = self._readings.get(namespace)
            if reading is None or _clock() >= reading.fresh_until:
                reading = await self._read(namespace)
        return reading.by_object.get(uid)

    async def _read(self, namespace: str) -> _Reading[T]:
        began = _clock()
        listed = await self._list(namespace)
        now = _clock()
        fresh_seconds = min(max(FRESH_SECONDS, (now - began) / _SHARE_OF_TIME), _FRESH_AT_MOST_SECONDS)
        missing = listed is None
        reading = _Reading(listed or {}, now, now + (_FRESH_AT_MOST_SECONDS if missing else fresh_seconds))
        kept = {name: each for name, each in self._readings.items() if now - each.read_at < _KEPT_SECONDS}
        self._readings = {**kept, namespace: reading}
        return reading


class Refusals(NamespaceReadings[Refusal]):
    """Knows why a Job's pod could not be made, or a pod does not begin, by the newest Event that says so."""

    def __init__(self, api: ApiServer, kind: EventKind) -> None:
        super().__init__(self._read_events)
        self._api = api
        self._kind = kind

    async def _read_events(self, namespace: str) -> dict[str, Refusal]:
        by_object: dict[str, Refusal] = {}
        async for event in self._api.all_of(CORE_EVENTS, namespace, fieldSelector=self._kind.selector):
            uid = event["involvedObject"].get("uid", "")
            if event.get("reason") in self._kind.reasons:
                by_object[uid] = _newer(by_object.get(uid), refusal_of_event(event))
        return by_object


class Cluster:
    """The API server, as one run sees it. Each request may raise ClusterError or RefusedError."""

    def __init__(self, api: ApiServer, installation: Installation = Installation()) -> None:  # noqa: B008 (it is frozen)
        self._api = api
        self._installation = installation
        self._refusals = {kind.name: Refusals(api, events_about_workloads(kind.name)) for kind in KINDS.values()}
        self._obstacles = Refusals(api, EVENTS_ABOUT_PODS)
        self._queue_notices = NamespaceReadings(self._read_queue_notices)

    async def apply_status(self, run: Run, status: WhisperFineTuneStatus) -> KubernetesObject:
        """Write the whole status and return the run. Raises ConflictError where it changed since it was read.

        What an earlier version, or an installation that was taken over, wrote under another name becomes this one's. An
        apply of nothing under that name removes the name, and what was written under it alone. This one's own name goes
        in the same way where the status is to be nobody's.
        """
        before = reading.read_leniently(WhisperFineTuneStatus, run.status)
        # An apply removes what this manager wrote before, in whichever version, and does not write now.
        whole = {"status": reading.keep_unknown_fields(run.status, before, status.to_json_object())}
        written = await self._apply(run, run.resource_version, whole, self._installation.manager_of(status))
        for left in self._installation.managers_left(run, status):
            written = await self._apply(run, written["metadata"]["resourceVersion"], {}, left)
        return written

    async def _apply(self, run: Run, version: str, part: Mapping[str, Any], manager: str) -> KubernetesObject:
        # The server ignores the UID in what is applied to a status. The version alone keeps a write to an old run
        # from landing on a new one of the same name.
        metadata = {"name": run.name, "namespace": run.namespace, "resourceVersion": version}
        body = {"apiVersion": RUNS.version, "kind": v1alpha1.KIND, "metadata": metadata, **part}
        path = RUNS.path(run.namespace, run.name, "status")
        query = {"fieldManager": manager, "force": "true"}
        return await self._api.ask("apply", RUNS, path, body=body, content_type=APPLY_PATCH, **query)

    async def create(self, workload: KubernetesObject) -> KubernetesObject:
        """Create the workload.

        Raises ConflictError where its name is taken, NotFoundError where the kind is unknown.
        """
        signed = self._installation.sign_workload(workload)
        return await self._api.create(resource_of(KINDS[workload["kind"]]), signed)

    async def find(self, kind: str, namespace: str, name: str) -> KubernetesObject | None:
        """Return the workload of that name, whoever owns it."""
        return await self._api.find(resource_of(KINDS[kind]), namespace, name)

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> KubernetesObject | None:
        """Delete the workload once its pods are gone.

        Return it as it waits for that, or None where it is gone already.
        """
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        resource = resource_of(KINDS[kind])
        try:
            answer = await self._api.ask("delete", resource, resource.path(namespace, name), body=options)
        except NotFoundError:
            return None
        return answer if answer["kind"] == kind else None

    async def patch_workload(
        self, kind: str, namespace: str, name: str, uid: str, spec: Mapping[str, Any]
    ) -> KubernetesObject | None:
        """Change fields of the workload's spec. Return it, or None where it is gone.

        The API server refuses the change where another object has the name by now.
        """
        body = {"metadata": {"uid": uid}, "spec": spec}
        try:
            return await self._api.patch(resource_of(KINDS[kind]), namespace, name, body)
        except NotFoundError:
            return None

    async def relabel(
        self, kind: str, namespace: str, name: str, uid: str, labels: Mapping[str, str]
    ) -> KubernetesObject:
        """Set the labels and return the workload.

        Raises ConflictError or NotFoundError where it is not the one that was seen. The patch merges, because one that
        applies would create anew what has gone meanwhile.
        """
        body = {"metadata": {"uid": uid, "labels": dict(labels)}}
        return await self._api.patch(resource_of(KINDS[kind]), namespace, name, body)

    async def start_workload(self, kind: str, namespace: str, name: str, uid: str, version: str) -> KubernetesObject:
        """Let a suspended workload have its pod, and return it.

        Raises ConflictError or NotFoundError where it is not the one that was seen.
        """
        metadata = {"uid": uid, "resourceVersion": version, "annotations": {STARTED_ANNOTATION: "true"}}
        body = {"metadata": metadata, "spec": {"suspend": False}}
        return await self._api.patch(resource_of(KINDS[kind]), namespace, name, body)

    async def pods_of(self, namespace: str, run_name: str, run_uid: str) -> list[KubernetesObject]:
        """Return the run's attempts as the API server has them. A watch may still show other ones."""
        labelled = self._api.all_of(PODS, namespace, labelSelector=f"{UID_LABEL}={run_uid}")
        return [pod async for pod in labelled if is_attempt_of(pod, run_name, run_uid)]

    async def has_unfinished_workloads(self, namespace: str, run_uid: str) -> bool:
        """Return whether the API server has a workload of the run that may use a partition and is not over."""
        for kind in kinds.on_partitions():
            found = self._api.all_of(resource_of(kind), namespace, labelSelector=f"{UID_LABEL}={run_uid}")
            if any([kind.read(workload, ()).end is None async for workload in found]):
                return True
        return False

    async def has_run(self, namespace: str, name: str, uid: str) -> bool:
        """Return whether the API server still has the run."""
        runs = self._api.all_of(RUNS, namespace, accept=METADATA_ONLY, fieldSelector=f"metadata.name={name}")
        return any([uid_of(run) == uid async for run in runs])

    async def refusal_of(self, kind: str, namespace: str, uid: str) -> Refusal | None:
        """Return why the workload's pod could not be made, by the newest Event that says so."""
        return await self._refusals[kind].of(namespace, uid)

    async def obstacle_of(self, namespace: str, pod_uid: str) -> Refusal | None:
        """Return why the pod's node cannot begin it, by the newest Event that says so."""
        return await self._obstacles.of(namespace, pod_uid)

    async def queue_notice_of(self, namespace: str, job_uid: str) -> QueueNotice | None:
        """Return what Kueue says of a Job that waits. None where it says nothing, or may not be asked."""
        return await self._queue_notices.of(namespace, job_uid)

    async def _read_queue_notices(self, namespace: str) -> dict[str, QueueNotice] | None:
        try:
            notices = [said async for each in self._api.all_of(QUEUED, namespace) for said in read_notices(each)]
        except (NotFoundError, RefusedError):
            # There is no Kueue, or the right was not given. Without its words a run says that it waits.
            return None
        return dict(notices)


def refusal_of_event(event: KubernetesObject) -> Refusal:
    """Return what an Event says. The name of the pod, which is another one at each try, is left out."""
    base = f"{event['involvedObject'].get('name', '')}-"[:_BASE_MAX_LENGTH]
    message = _without_generated(event.get("message", ""), base)
    seen = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    since = event.get("firstTimestamp") or event["metadata"]["creationTimestamp"]
    return Refusal(message, parse_time(seen), parse_time(since))


def _without_generated(message: str, base: str) -> str:
    """Return the message with a star for what the API server appended to the base of a name.

    An expression for each base would be compiled for each Event, and a namespace may have thousands.
    """
    end = message.find(base) + len(base)
    while end >= len(base):
        if generated := _GENERATED.match(message, end):
            message = f"{message[:end]}*{message[generated.end() :]}"
        end = message.find(base, end - len(base) + 1) + len(base)
    return message


def _newer(known: Refusal | None, read: Refusal) -> Refusal:
    if known is None:
        return read
    newest = max(known, read, key=lambda refusal: refusal.seen_at)
    return Refusal(newest.message, newest.seen_at, min(known.refused_since, read.refused_since))


def _clock() -> float:
    return asyncio.get_running_loop().time()
