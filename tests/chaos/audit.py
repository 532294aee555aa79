"""What the API server's audit log says of pods: whose each one was, and from when to when it could be at work. Pure."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from whisper_finetune_api.v1alpha1 import UID_LABEL

PARTITION_LABEL = "whisperfinetune.dev/partition"
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class PodLife:
    """A pod of a run. Times are the API server's own, in seconds of the epoch. It may still be there: `end` is None."""

    uid: str
    name: str
    run_uid: str
    partition: str | None
    begin: float
    end: float | None = None
    succeeded: bool = False
    #: UIDs of its owners, and the name of its node.
    owners: tuple[str, ...] = ()

    def in_words(self) -> str:
        """Return its name and its times."""
        return f"{self.name} ({self.begin:.3f} to {'now' if self.end is None else f'{self.end:.3f}'})"

    def overlaps(self, other: "PodLife") -> bool:
        """Return whether both were there at one moment, for certain."""
        return self.begin < _or_ever(other.end) and other.begin < _or_ever(self.end)


@dataclass
class _Found:
    life: PodLife
    end: float | None = None
    succeeded: bool = False


def pods_in(lines: Iterable[str]) -> tuple[PodLife, ...]:
    """Return all pods of runs that the log tells of, by their beginnings.

    A pod begins when its creation was answered, and ends when the request came that says so. So of two that seem to
    overlap both were really there.
    """
    found: dict[str, _Found] = {}
    for event in _changes_of_pods(lines):
        pod = event["responseObject"]
        _note(found, event, pod) if "metadata" in pod else None
    lives = (replace(each.life, end=each.end, succeeded=each.succeeded) for each in found.values())
    return tuple(sorted(lives, key=lambda life: life.begin))


def _changes_of_pods(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        event = json.loads(line)
        of_pod = event.get("objectRef", {}).get("resource") == "pods"
        if of_pod and event["responseStatus"].get("code", 500) < 300 and event.get("responseObject"):
            yield event


def _note(found: dict[str, _Found], event: dict[str, Any], pod: dict[str, Any]) -> None:
    metadata, uid = pod["metadata"], pod["metadata"].get("uid", "")
    labels = metadata.get("labels") or {}
    if event["verb"] == "create" and "subresource" not in event["objectRef"] and UID_LABEL in labels:
        answered = _seconds(event["stageTimestamp"])
        owners = tuple(owner["uid"] for owner in metadata.get("ownerReferences") or ())
        life = PodLife(uid, metadata["name"], labels[UID_LABEL], labels.get(PARTITION_LABEL), answered, owners=owners)
        found.setdefault(uid, _Found(life))
    elif uid in found:
        phase = (pod.get("status") or {}).get("phase")
        gone = event["verb"] == "delete" and not metadata.get("deletionGracePeriodSeconds")
        if phase in _ENDED or gone:
            known = found[uid]
            known.end = known.end if known.end is not None else _seconds(event["requestReceivedTimestamp"])
            known.succeeded = known.succeeded or phase == "Succeeded"


def two_at_a_time(pods: Iterable[PodLife], *, by: str) -> list[tuple[PodLife, PodLife]]:
    """Return the pairs of pods of one run, or on one partition, that were there at one moment.

    `by` is the field that two such pods share: `run_uid` or `partition`.
    """
    groups: defaultdict[str, list[PodLife]] = defaultdict(list)
    for pod in pods:
        if getattr(pod, by) is not None:
            groups[getattr(pod, by)].append(pod)
    return [
        (first, second)
        for group in groups.values()
        for number, first in enumerate(group)
        for second in group[number + 1 :]
        if first.overlaps(second)
    ]


def _or_ever(end: float | None) -> float:
    return float("inf") if end is None else end


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
