"""A list removes what was deleted from the cache, and nothing that the list could not show."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api_server_model import Door, Server
from replica_model import NAMESPACE
from run_objects import RUNTIMES, ipu_job, run_object
from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.api.api_server import LEASES, ApiServer, Resource
from whisper_finetune_operator.api.errors import RefusedError
from whisper_finetune_operator.back_off import BackOff
from whisper_finetune_operator.deciding import partition_steps
from whisper_finetune_operator.kubernetes_objects import KubernetesObject, uid_of
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

    async def list_with_version(
        self, resource: Resource, namespace: str | None, **query: str
    ) -> tuple[str, list[KubernetesObject]]:
        if self._refuses:
            raise RefusedError("leases is forbidden")
        return await super().list_with_version(resource, namespace, **query)

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


def test_a_watch_that_lasted_is_opened_anew_at_once() -> None:
    back_off = BackOff(healthy_seconds=10)
    assert [back_off.wait_seconds(lasted, 0.0) for lasted in (0, 1, 9.9, 10, 0)] == [0.25, 0.5, 1.0, 0.0, 0.25]
    assert [back_off.wait_seconds(0, 0.999) for _ in range(40)][-1] <= 60


def versioned(label: str, version: str) -> KubernetesObject:
    """Return an IPUJob with the label."""
    return ipu_job(metadata__labels={label: "uid-1"}, metadata__resourceVersion=version)
