"""Why the pods of Jobs are refused: the Job controller says so in Events alone, which are read once for a namespace.

The API server answers by reading all Events of the namespace: one list for each Job would cost the square of their
number.
"""

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass

from whisper_finetune_operator import timestamps
from whisper_finetune_operator.api.api_server import CORE_EVENTS, ApiServer
from whisper_finetune_operator.world import KubernetesObject, Refusal

#: A list this old still tells what is refused; an older one where lists take long: they fill this share of the time.
FRESH_SECONDS = 5.0
_SHARE_OF_TIME = 0.05
_FRESH_AT_MOST_SECONDS = 120.0
_KEPT_SECONDS = 600.0
_SELECTOR = "reason=FailedCreate,involvedObject.kind=Job"
#: What the API server leaves of a name that it makes unique, and the letters that it puts behind.
_BASE_MAX_LENGTH = 58
_GENERATED = "[bcdfghjklmnpqrstvwxz2456789]{5}"


@dataclass(frozen=True)
class _Reading:
    by_job: dict[str, Refusal]
    read_at: float
    fresh_until: float


class Refusals:
    """The newest refusal of each Job's pod, as of the namespace's last list."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._readings: dict[str, _Reading] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of_job(self, namespace: str, job_uid: str) -> Refusal | None:
        """Return why the Job's pod could not be made, by the newest Event that says so."""
        async with self._locks[namespace]:
            reading = self._readings.get(namespace)
            if reading is None or _clock() >= reading.fresh_until:
                reading = await self._read(namespace)
        return reading.by_job.get(job_uid)

    async def _read(self, namespace: str) -> _Reading:
        began = _clock()
        by_job: dict[str, Refusal] = {}
        async for event in self._api.all_of(CORE_EVENTS, namespace, fieldSelector=_SELECTOR):
            uid = event["involvedObject"].get("uid", "")
            by_job[uid] = _newer(by_job.get(uid), refusal_in(event))
        now = _clock()
        fresh_seconds = min(max(FRESH_SECONDS, (now - began) / _SHARE_OF_TIME), _FRESH_AT_MOST_SECONDS)
        reading = _Reading(by_job, now, now + fresh_seconds)
        kept = {name: each for name, each in self._readings.items() if now - each.read_at < _KEPT_SECONDS}
        self._readings = {**kept, namespace: reading}
        return reading


def refusal_in(event: KubernetesObject) -> Refusal:
    """Return what a FailedCreate Event says, without the name that each try makes anew."""
    base = f"{event['involvedObject'].get('name', '')}-"[:_BASE_MAX_LENGTH]
    message = re.sub(rf"{re.escape(base)}{_GENERATED}\b", f"{base}*", event.get("message", ""))
    seen = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    since = event.get("firstTimestamp") or event["metadata"]["creationTimestamp"]
    return Refusal(message, timestamps.parse(seen), timestamps.parse(since))


def _newer(known: Refusal | None, read: Refusal) -> Refusal:
    if known is None:
        return read
    newest = max(known, read, key=lambda refusal: refusal.seen_at)
    return Refusal(newest.message, newest.seen_at, min(known.refused_since, read.refused_since))


def _clock() -> float:
    return asyncio.get_running_loop().time()
