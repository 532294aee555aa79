"""A list removes what was deleted from the cache, and nothing that the list could not show."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api_server_model import Door, Server
from replica_model import NAMESPACE
from run_objects import RUNTIMES, ipu_job, run_object
from simulated_time import in_simulated_time
from slow_api_server import error_event
from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.api.api_server import LEASES, PODS, ApiServer, Pace, Resource, resource_of
from whisper_finetune_operator.api.connection import Answer
from whisper_finetune_operator.api.errors import ClusterError, GoneError, RefusedError, UnauthorizedError
from whisper_finetune_operator.back_off import BackOff
from whisper_finetune_operator.deciding import partition_steps
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, uid_of
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.partitions.partition_leases import PARTITION_LABEL
from whisper_finetune_operator.settings import Settings
from whisper_finetune_operator.watching import list_watch
from whisper_finetune_operator.watching.list_watch import Keeper, ListWatch
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.workqueue import Workqueue
from whisper_finetune_operator.workloads.ipu_job_kind import IPU_JOB


class Lists:
    """The operator's own watches, and what they keep."""

    def __init__(self) -> None:
        self.server = Server(random.Random(1))  # noqa: S311 (no secret)
        self.store = ObjectCache(PartitionBook(lambda run: partition_steps.queue_entry_of(run, RUNTIMES)))
        self.queue = Workqueue(self._work, lambda *_: None, workers=1)
        settings = Settings(runtimes=Path("runtimes.yaml"))
        api: ApiServer = Door(self.server)  # type: ignore[assignment] # the model of it
        self.leases = list_watch.watch_leases(settings, NAMESPACE, api, self.store, self.queue)
        self.ipu_jobs = list_watch.watch_workloads(IPU_JOB, settings, api, self.store, self.queue)

    async def _work(self, _: str) -> None:
        """Do nothing."""

    async def after(self, watch: ListWatch) -> list[str]:
        """List, and return the UIDs of the IPUJobs that are known then."""
        await watch.list()
        return [uid_of(each) for each in self.store.workloads("IPUJob")]


@pytest.mark.parametrize(("label", "kept"), [("team", ["ipu-job-1"]), (UID_LABEL, [])], ids=["foreign", "own"])
async def test_only_what_a_list_could_show_is_forgotten_for_not_being_in_it(label: str, kept: list[str]) -> None:
    lists = Lists()
    lists.store.put_workload("IPUJob", versioned(label, "1"))
    assert await lists.after(lists.ipu_jobs) == kept
    assert lists.store.put_workload("IPUJob", versioned(label, "2")) == bool(kept)


async def test_a_list_wakes_whose_turn_it_is_even_where_it_brings_nothing_new() -> None:
    lists = Lists()
    lists.store.put_run(run_object({"model": "openai/whisper-small", "runtime": "pod16", "ipus": 4}))
    await lists.after(lists.leases)
    assert lists.queue.depth() == 1


class EndingAtOnce(Door):
    """A server whose watches end as soon as they are opened, or that refuses to list."""

    def __init__(self, server: Server, *, refuses: bool) -> None:
        super().__init__(server)
        self._refuses = refuses

    async def pages_of(
        self, resource: Resource, namespace: str | None, **query: str
    ) -> AsyncIterator[tuple[str, list[KubernetesObject]]]:
        if self._refuses:
            raise RefusedError("leases is forbidden")
        async for page in super().pages_of(resource, namespace, **query):
            yield page

    async def watch(self, *_: object, **__: object) -> AsyncIterator[KubernetesObject]:
        for event in ():
            yield event


@pytest.mark.parametrize("refuses", [False, True], ids=["ends", "is refused"])
async def test_a_watch_that_fails_at_once_waits_longer_each_time_and_complains_once(
    caplog: pytest.LogCaptureFixture, *, refuses: bool
) -> None:
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 8:
            raise asyncio.CancelledError

    api: ApiServer = EndingAtOnce(Server(random.Random(1)), refuses=refuses)  # type: ignore[assignment]  # noqa: S311 (the model of it; no secret)
    keeper = Keeper(lambda _: True, lambda _: None, lambda: iter(()), lambda _: None, lambda: None)
    watch = ListWatch(api, LEASES, NAMESPACE, PARTITION_LABEL, keeper, seconds=60, pause=pause)
    with pytest.raises(asyncio.CancelledError):
        await watch.run(lambda _: None)
    assert waits[-1] > 10 * waits[0] > 0
    assert len([record for record in caplog.records if "forbidden" in record.getMessage()]) == refuses


#: What a server does with one watch: it sends these events, and at last it fails where an error stands.
Script = list[KubernetesObject | Exception]
GONE, AWAY, FORBIDDEN = GoneError("410 too old"), ClusterError("no answer"), RefusedError("forbidden")


class Scripted:
    """A server with some IPUJobs at version 10. Each watch goes as the test says, and the last one never ends."""

    def __init__(self, *watches: Script) -> None:
        self.there = [versioned(UID_LABEL, "7")]
        #: Whether they are deleted when a watch fails.
        self.loses = True
        self.lists = 0
        #: The version that each watch began at.
        self.watched: list[str] = []
        self.idle = asyncio.Event()
        self._watches = list(watches)

    async def pages_of(self, *_: object, **__: str) -> AsyncIterator[tuple[str, list[KubernetesObject]]]:
        self.lists += 1
        for each in self.there:
            yield "10", [each]
        if not self.there:
            yield "10", []

    async def watch(self, *_: object, resourceVersion: str, **__: object) -> AsyncIterator[KubernetesObject]:  # noqa: N803 (the API's name)
        self.watched.append(resourceVersion)
        if not self._watches:
            self.idle.set()
            await asyncio.Event().wait()
        for event in self._watches.pop(0):
            if isinstance(event, Exception):
                if self.loses:
                    self.there.clear()
                raise event
            yield event


class Watched:
    """What a keeper was given while a scripted server was watched to its end."""

    def __init__(self, server: Scripted) -> None:
        self.server = server
        self.known: dict[str, KubernetesObject] = {}
        self.told: list[str] = []
        self.signs: list[str] = []
        self.watch = ListWatch(
            server,  # type: ignore[arg-type] # the model of it
            resource_of(IPU_JOB),
            None,
            UID_LABEL,
            Keeper(self._put, self._forget, lambda: iter(self.known.values()), self._tell, lambda: None),
            seconds=60,
            pause=self._pause,
        )

    async def to_the_end(self) -> "Watched":
        task = asyncio.create_task(self.watch.run(self.signs.append))
        idle = asyncio.create_task(self.server.idle.wait())
        await asyncio.wait((task, idle), return_when=asyncio.FIRST_COMPLETED)
        assert self.server.idle.is_set()
        task.cancel()
        return self

    def _put(self, each: KubernetesObject) -> bool:
        is_news = self.known.get(uid_of(each)) != each
        self.known[uid_of(each)] = each
        return is_news

    def _forget(self, each: KubernetesObject) -> None:
        del self.known[uid_of(each)]

    def _tell(self, each: KubernetesObject) -> None:
        self.told.append(each["metadata"]["resourceVersion"])

    async def _pause(self, _: float) -> None:
        """Wait for nothing."""


def event(kind: str, version: str) -> KubernetesObject:
    return {"type": kind, "object": versioned(UID_LABEL, version)}


def bookmark(version: str) -> KubernetesObject:
    return {"type": "BOOKMARK", "object": {"kind": "IPUJob", "metadata": {"resourceVersion": version}}}


async def test_a_watch_that_ends_goes_on_where_it_ended_and_lists_no_more() -> None:
    seen = await Watched(Scripted([event("MODIFIED", "12")], [bookmark("20")], [])).to_the_end()
    assert (seen.server.lists, seen.server.watched) == (1, ["10", "12", "20", "20"])
    assert seen.told == ["7", "12"]
    assert set(seen.signs) == {"ipujobs"}
    assert len(seen.signs) == 6  # the list, two events, and the ends of three watches


@pytest.mark.parametrize(
    ("end", "lists", "watched", "left"),
    [(AWAY, 1, ["10", "12"], 1), (GONE, 2, ["10", "10"], 0), (FORBIDDEN, 2, ["10", "10"], 0)],
    ids=["away", "gone", "forbidden"],
)
async def test_only_a_watch_that_cannot_go_on_lists_anew_and_finds_what_was_deleted_meanwhile(
    end: Exception, lists: int, watched: list[str], left: int
) -> None:
    seen = await Watched(Scripted([event("MODIFIED", "12"), end])).to_the_end()
    assert (seen.server.lists, seen.server.watched, len(seen.known)) == (lists, watched, left)
    assert seen.told == ["7", "12", *["12"] * (1 - left)]


async def test_what_is_there_when_it_is_listed_anew_stays() -> None:
    server = Scripted([GONE])
    server.loses = False
    seen = await Watched(server).to_the_end()
    assert (seen.server.lists, len(seen.known), seen.told) == (2, 1, ["7"])


async def test_what_is_deleted_is_forgotten_and_told() -> None:
    seen = await Watched(Scripted([event("DELETED", "12")])).to_the_end()
    assert (seen.known, seen.told) == ({}, ["7", "12"])


async def test_what_fills_the_cache_at_the_start_is_told_to_nobody_and_not_listed_again() -> None:
    started = Watched(Scripted([event("MODIFIED", "12")]))
    await started.watch.fill()
    assert (len(started.known), started.told) == (1, [])
    await started.to_the_end()
    assert (started.server.lists, started.server.watched, started.told) == (1, ["10", "12"], ["12"])


class Lines:
    """A way to a server that answers a watch with these lines, or not at all."""

    def __init__(self, *lines: bytes | Answer) -> None:
        self.query: dict[str, str] = {}
        self._lines = lines

    async def lines(
        self, path: str, *, headers: object, connect_seconds: float, total_seconds: float, **query: str
    ) -> AsyncIterator[bytes | Answer]:
        assert (path, headers) == ("/api/v1/pods", {"Accept": "application/json"})
        assert 0 < connect_seconds < int(query["timeoutSeconds"]) < total_seconds
        self.query = query
        for line in self._lines:
            yield line


async def events_of(way: Lines, pace: Pace | None = None) -> list[KubernetesObject]:
    api = ApiServer(way, Metrics(), pace)  # type: ignore[arg-type] # the model of it
    return [event async for event in api.watch(PODS, None, seconds=60, resourceVersion="10")]


async def test_a_watch_asks_for_versions_of_quiet_times_too() -> None:
    way = Lines(b'{"type": "BOOKMARK", "object": {}}')
    assert await events_of(way) == [{"type": "BOOKMARK", "object": {}}]
    asked = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "60", "resourceVersion": "10"}
    assert way.query == asked


@pytest.mark.parametrize("code", [410, 500], ids=str)
async def test_an_error_within_a_watch_means_that_what_there_is_must_be_listed(code: int) -> None:
    with pytest.raises(GoneError, match=f"watch /api/v1/pods: {code} etcdserver: no leader"):
        await events_of(Lines(error_event(code, "etcdserver: no leader")))


async def test_a_line_that_is_no_event_is_a_fault_of_the_network() -> None:
    with pytest.raises(ClusterError, match="a line that is no event"):
        await events_of(Lines(b"<html>"))


@pytest.mark.parametrize(
    ("code", "error"), [(410, GoneError), (403, RefusedError), (401, UnauthorizedError), (503, ClusterError)], ids=str
)
async def test_a_refused_watch_says_why(code: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        await events_of(Lines(Answer(code, {"message": "not now"})))


def test_the_next_watch_comes_when_the_server_wants_it() -> None:
    async def main() -> float:
        pace = Pace(1000)
        with pytest.raises(ClusterError):
            await events_of(Lines(Answer(429, {}, retry_after_seconds=7.0)), pace)
        await events_of(Lines(), pace)
        return asyncio.get_running_loop().time()

    assert in_simulated_time(main()) >= 7


def test_a_watch_that_lasted_is_opened_anew_at_once() -> None:
    back_off = BackOff(healthy_seconds=10)
    assert [back_off.wait_seconds(lasted, 0.0) for lasted in (0, 1, 9.9, 10, 0)] == [0.25, 0.5, 1.0, 0.0, 0.25]
    assert [back_off.wait_seconds(0, 0.999) for _ in range(40)][-1] <= 60


def versioned(label: str, version: str) -> KubernetesObject:
    """Return an IPUJob with the label."""
    return ipu_job(metadata__labels={label: "uid-1"}, metadata__resourceVersion=version)
