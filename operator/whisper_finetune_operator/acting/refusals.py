"""Why pods are refused or do not start: controllers and kubelets say so in Events alone, read once for a namespace.

The API server answers by reading all Events of the namespace: one list for each Job would cost the square of their
number.
"""

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass

from whisper_finetune_operator.api.api_server import CORE_EVENTS, ApiServer
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, parse_time
from whisper_finetune_operator.world import Refusal

#: A list this old still tells what is refused; an older one where lists take long: they fill this share of the time.
FRESH_SECONDS = 5.0
_SHARE_OF_TIME = 0.05
_FRESH_AT_MOST_SECONDS = 120.0
_KEPT_SECONDS = 600.0
#: What the API server leaves of a name that it makes unique, and the letters that it puts behind.
_BASE_MAX_LENGTH = 58
_GENERATED = "[bcdfghjklmnpqrstvwxz2456789]{5}"


@dataclass(frozen=True)
class Kind:
    """Which Events tell of what."""

    selector: str
    #: Of those that the selector leaves; it can name one alone.
    reasons: tuple[str, ...]


def events_about_workloads(kind: str) -> Kind:
    """Return those of a kind of workload: its controller cannot make a pod."""
    return Kind(f"reason=FailedCreate,involvedObject.kind={kind}", ("FailedCreate",))


#: Of the pod: its node cannot begin it.
EVENTS_ABOUT_PODS = Kind(
    "type=Warning,involvedObject.kind=Pod",
    ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"),
)


@dataclass(frozen=True)
class _Reading:
    by_object: dict[str, Refusal]
    read_at: float
    fresh_until: float


class Refusals:
    """What the newest Event of each object tells, as of the namespace's last list."""

    def __init__(self, api: ApiServer, kind: Kind) -> None:
        self._api = api
        self._kind = kind
        self._readings: dict[str, _Reading] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, namespace: str, uid: str) -> Refusal | None:
        """Return why the Job's pod could not be made, or the pod does not begin, by the newest Event that says so."""
        async with self._locks[namespace]:
            reading = self._readings.get(namespace)
            if reading is None or _clock() >= reading.fresh_until:
                reading = await self._read(namespace)
        return reading.by_object.get(uid)

    async def _read(self, namespace: str) -> _Reading:
        began = _clock()
        by_object: dict[str, Refusal] = {}
        async for event in self._api.all_of(CORE_EVENTS, namespace, fieldSelector=self._kind.selector):
            uid = event["involvedObject"].get("uid", "")
            if event.get("reason") in self._kind.reasons:
                by_object[uid] = _newer(by_object.get(uid), refusal_of_event(event))
        now = _clock()
        fresh_seconds = min(max(FRESH_SECONDS, (now - began) / _SHARE_OF_TIME), _FRESH_AT_MOST_SECONDS)
        reading = _Reading(by_object, now, now + fresh_seconds)
        kept = {name: each for name, each in self._readings.items() if now - each.read_at < _KEPT_SECONDS}
        self._readings = {**kept, namespace: reading}
        return reading


def refusal_of_event(event: KubernetesObject) -> Refusal:
    """Return what an Event says, without the name that each try of a Job's controller makes anew."""
    base = f"{event['involvedObject'].get('name', '')}-"[:_BASE_MAX_LENGTH]
    message = re.sub(rf"{re.escape(base)}{_GENERATED}\b", f"{base}*", event.get("message", ""))
    seen = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    since = event.get("firstTimestamp") or event["metadata"]["creationTimestamp"]
    return Refusal(message, parse_time(seen), parse_time(since))


def _newer(known: Refusal | None, read: Refusal) -> Refusal:
    if known is None:
        return read
    newest = max(known, read, key=lambda refusal: refusal.seen_at)
    return Refusal(newest.message, newest.seen_at, min(known.refused_since, read.refused_since))


def _clock() -> float:
    return asyncio.get_running_loop().time()
