"""What must hold after all faults, and what does not. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaos import audit, stories
from chaos.audit import PodLife


@dataclass(frozen=True)
class Aftermath:
    """All that is left once every fault is over and each run had time to end."""

    runs: tuple[Mapping[str, Any], ...]
    pods: tuple[PodLife, ...]
    #: Leases of partitions, by their names.
    leases: tuple[str, ...]
    #: Pods and Jobs that were deleted by hand, by UID.
    by_hand: frozenset[str]
    #: Lines of the replicas' logs that tell of a fault of the operator itself.
    own_faults: tuple[str, ...]


def broken(after: Aftermath) -> dict[str, tuple[str, ...]]:
    """Return what does not hold, each with its cases. Each claim is there, without a case where it holds."""
    return {
        "each run is in the state that its trainer deserved": tuple(_undeserved(after.runs)),
        "no run had two pods at a time": tuple(_pairs(after.pods, "run_uid")),
        "no partition had pods of two runs at a time": tuple(_pairs(after.pods, "partition")),
        "no result is lost": tuple(_lost(after)),
        "no partition is kept": after.leases,
        "the operator has no fault of its own in its log": after.own_faults,
    }


def _undeserved(runs: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for run in runs:
        name, status = run["metadata"]["name"], run["status"]
        finished = [each for each in status.get("conditions") or () if each["type"] == "Finished"]
        reached = status.get("state"), finished[0]["reason"] if finished else None
        deserved = stories.story_of(name).deserved
        if reached != deserved:
            said = "; ".join(f"{each['type']}: {each.get('message', '')}" for each in status.get("conditions") or ())
            yield f"{name}: {reached} in place of {deserved} ({said})"


def _pairs(pods: Iterable[PodLife], field: str) -> Iterable[str]:
    for first, second in audit.two_at_a_time(pods, by=field):
        if field == "run_uid" or first.run_uid != second.run_uid:
            yield f"{first.in_words()} and {second.in_words()}"


def _lost(after: Aftermath) -> Iterable[str]:
    """Yield the pods that succeeded and were not the last of their run, though nobody took them away."""
    alive = {run["metadata"]["uid"] for run in after.runs}
    for pod in after.pods:
        later = [other for other in after.pods if other.run_uid == pod.run_uid and other.begin > _end_of(pod)]
        if pod.succeeded and later and pod.run_uid in alive and not after.by_hand & {pod.uid, *pod.owners}:
            yield f"{pod.name} had succeeded, and {later[0].name} was made after it"


def _end_of(pod: PodLife) -> float:
    return float("inf") if pod.end is None else pod.end
