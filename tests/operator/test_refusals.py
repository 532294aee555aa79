"""Refused pods: what they cost the API server and other runs, and that their status does not change all the time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from run_objects import CHILD, UID, at, job, pod, run_object, time
from simulated_time import in_simulated_time
from test_object_cache import pod_version, version
from whisper_finetune_operator.acting.cluster import (
    EVENTS_ABOUT_PODS,
    Refusals,
    events_about_workloads,
    refusal_of_event,
)
from whisper_finetune_operator.next_steps import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, retry_seconds
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.workqueue import Workqueue
from whisper_finetune_operator.workloads.job_kind import JOB
from whisper_finetune_operator.world import Refusal


def event(name: str, message: str, *, seen: float = 20, first: float = 10) -> dict[str, Any]:
    """Return what the Job controller says of a pod that it could not make."""
    return {
        "metadata": {"creationTimestamp": time(first)},
        "involvedObject": {"kind": "Job", "name": name, "uid": f"uid-of-{name}"},
        "reason": "FailedCreate",
        "message": message,
        "firstTimestamp": time(first),
        "lastTimestamp": time(seen),
    }


class SlowEvents:
    """A namespace with one refused Job for each run; each list of its Events takes as long as it is told."""

    def __init__(self, jobs: int, list_seconds: float) -> None:
        self._events = [event(f"job-{number}", "exceeded quota") for number in range(jobs)]
        self._list_seconds = list_seconds
        self.lists = 0

    async def all_of(self, _: object, __: str, **___: str) -> AsyncIterator[dict[str, Any]]:
        self.lists += 1
        await asyncio.sleep(self._list_seconds)
        for each in self._events:
            yield each


def test_three_hundred_refused_runs_cost_few_lists_and_hold_up_no_other() -> None:
    """An hour in which nothing changes, lists of 3 s, 20 workers; another run comes every ten seconds."""
    events = SlowEvents(jobs=300, list_seconds=3.0)
    asked_at: dict[str, float] = {}
    waited: list[float] = []

    async def main() -> None:
        api: Any = events
        refusals = Refusals(api, events_about_workloads(JOB.name))
        clock = asyncio.get_running_loop().time

        async def look(key: str) -> float | None:
            if key.startswith("other"):
                waited.append(clock() - asked_at[key])
                return None
            refusal = await refusals.of("speech", f"uid-of-{key}")
            assert refusal is not None
            return retry_seconds(timedelta(seconds=clock()), key)

        queue = Workqueue(look, lambda *_: None, workers=20)
        working = asyncio.create_task(queue.run())
        for number in range(300):
            queue.add(f"job-{number}")
        for number in range(360):
            asked_at[f"other-{number}"] = clock()
            queue.add(f"other-{number}")
            await asyncio.sleep(10)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    in_simulated_time(main())
    assert events.lists <= 3600 / 60 + 1
    assert len(waited) == 360
    assert max(waited) <= 3.0


def test_jobs_of_two_namespaces_are_read_apart() -> None:
    async def main() -> int:
        events = SlowEvents(jobs=1, list_seconds=0.1)
        api: Any = events
        refusals = Refusals(api, events_about_workloads(JOB.name))
        await asyncio.gather(*[refusals.of(name, "uid-of-job-0") for name in ("a", "b", "a", "b")])
        return events.lists

    assert in_simulated_time(main()) == 2


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (f'pods "{CHILD}-dgtfl" is forbidden: exceeded quota', f'pods "{CHILD}-*" is forbidden: exceeded quota'),
        (f"webhook denied {CHILD}-x7k2q: no label", f"webhook denied {CHILD}-*: no label"),
        ("exceeded quota: team-green", "exceeded quota: team-green"),
    ],
)
def test_name_that_each_try_makes_anew_is_cut_out(said: str, kept: str) -> None:
    assert refusal_of_event(event(CHILD, said)) == Refusal(kept, at(20), at(10))


class WarningsOfPods:
    """What a namespace's Events say of its pods."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self._events = events
        self.asked: list[str] = []

    async def all_of(self, _: object, __: str, *, fieldSelector: str) -> AsyncIterator[dict[str, Any]]:  # noqa: N803
        self.asked.append(fieldSelector)
        for each in self._events:
            yield each


async def test_why_a_pod_does_not_begin_is_what_its_node_cannot_do() -> None:
    pod = {"involvedObject": {"kind": "Pod", "name": "a", "uid": "pod-1"}}
    mount = {**event("a", "timed out waiting for the condition", seen=30), **pod, "reason": "FailedMount"}
    attach = {**event("a", 'Multi-Attach error for volume "pvc-7"', seen=50), **pod, "reason": "FailedAttachVolume"}
    probe = {**event("a", "connection refused", seen=90), **pod, "reason": "Unhealthy"}
    events: Any = WarningsOfPods(mount, attach, probe)
    obstacles = Refusals(events, EVENTS_ABOUT_PODS)
    assert await obstacles.of("speech", "pod-1") == Refusal('Multi-Attach error for volume "pvc-7"', at(50), at(10))
    assert await obstacles.of("speech", "pod-2") is None
    assert events.asked == ["type=Warning,involvedObject.kind=Pod"]


def test_an_obstacle_is_of_the_newest_pod_and_news_where_it_says_something_else() -> None:
    store = ObjectCache(PartitionBook(lambda _: None))
    store.put_run(version(run_object(), 10))
    store.put_pod(pod_version(pod(20), 11))
    run = store.run(UID)
    assert run is not None
    assert store.keep_obstacle(UID, "pod-20", Refusal("timed out after 120 s", at(30)))
    assert not store.keep_obstacle(UID, "pod-20", Refusal("timed out after 240 s", at(60)))
    assert store.world(run, at(61)).obstacle == Refusal("timed out after 120 s", at(60), at(30))
    assert store.keep_obstacle(UID, "pod-20", None)
    assert store.world(run, at(61)).obstacle is None
    store.keep_obstacle(UID, "pod-20", Refusal("timed out", at(70)))
    store.put_pod(pod_version(pod(80), 12))
    assert store.world(run, at(81)).obstacle is None


def test_long_name_is_cut_out_too() -> None:
    """The API server leaves 58 characters of it, and so no hyphen."""
    name = "a" * 52 + "-7a0c9a4e"
    refusal = refusal_of_event(event(name, f'pods "{name[:58]}dgtfl" is forbidden'))
    assert refusal.message == f'pods "{name[:58]}*" is forbidden'


def test_refusal_that_differs_in_numbers_alone_keeps_its_words_and_its_age() -> None:
    store = ObjectCache(PartitionBook(lambda _: None))
    store.put_run(version(run_object(), 10))
    store.put_workload("Job", version(job(), 11))
    run = store.run(UID)
    assert run is not None
    for seen, used in ((20, 4), (50, 7), (80, 5)):
        store.keep_refusal(run, Refusal(f"exceeded quota: gpus, used: pods={used}, limited: pods=8", at(seen)))
    kept = store.refusal_of(run)
    assert kept == Refusal("exceeded quota: gpus, used: pods=4, limited: pods=8", at(80), at(20))
    store.keep_refusal(run, Refusal("violates PodSecurity", at(90)))
    assert store.refusal_of(run) == Refusal("violates PodSecurity", at(90))


@pytest.mark.parametrize(
    ("refused", "low", "high"),
    [(0, 0.75 * FIRST_RETRY_SECONDS, FIRST_RETRY_SECONDS), (600, 150, 200), (86400, 450, LAST_RETRY_SECONDS)],
)
def test_retries_grow_seldom_and_are_spread(refused: float, low: float, high: float) -> None:
    waits = {retry_seconds(timedelta(seconds=refused), f"run-{number}") for number in range(100)}
    assert low <= min(waits) < max(waits) <= high
    assert len(waits) == 100
