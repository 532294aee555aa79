"""What is read of Kueue's Workloads, and what asking for them costs."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from run_objects import UID, at, job, run_object
from test_object_cache import version
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.api.errors import NotFoundError, RefusedError
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.workloads.kueue_workloads import read_notices
from whisper_finetune_operator.world import QueueNotice

JOB_UID = "job-1"


def workload(*conditions: tuple[str, str, str, str], uid: str = JOB_UID, **parts: Any) -> dict[str, Any]:
    """Return a Workload with conditions of a type, a status, a reason and a message."""
    fields = ("type", "status", "reason", "message")
    return {
        "metadata": {"name": "job-r", "ownerReferences": [{"kind": "Job", "uid": uid}]},
        "spec": {"queueName": "speech", **parts.pop("spec", {})},
        "status": {"conditions": [dict(zip(fields, each, strict=True)) for each in conditions], **parts},
    }


NO_QUOTA = ("QuotaReserved", "False", "Pending", "insufficient unused quota for cpu in flavor any, 1 more needed")
NO_QUEUE = ("QuotaReserved", "False", "Inadmissible", "LocalQueue speech doesn't exist")
PREEMPTED = ("Evicted", "True", "Preempted", "Preempted to accommodate a higher priority Workload.")
RESERVED = ("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue speech")
CHECK = {"name": "provision", "state": "Pending", "message": "no capacity yet"}


@pytest.mark.parametrize(
    ("found", "notice"),
    [
        pytest.param(workload(NO_QUOTA), QueueNotice("job-r", "speech", NO_QUOTA[3]), id="no quota"),
        pytest.param(workload(NO_QUEUE), QueueNotice("job-r", "speech", NO_QUEUE[3], "Inadmissible"), id="no queue"),
        pytest.param(
            workload(NO_QUOTA, PREEMPTED),
            QueueNotice("job-r", "speech", f"{NO_QUOTA[3]}; Preempted to accommodate a higher priority Workload"),
            id="preempted",
        ),
        pytest.param(
            workload(RESERVED, admissionChecks=[CHECK]),
            QueueNotice("job-r", "speech", "admission check provision is Pending: no capacity yet"),
            id="an admission check",
        ),
        pytest.param(
            workload(("Evicted", "True", "Deactivated", "The workload is deactivated"), spec={"active": False}),
            QueueNotice("job-r", "speech", "The workload is deactivated", "Deactivated"),
            id="deactivated",
        ),
    ],
)
def test_what_kueue_says_of_a_job_that_waits(found: dict[str, Any], notice: QueueNotice) -> None:
    assert dict(read_notices(found)) == {JOB_UID: notice}


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(workload(RESERVED, ("Admitted", "True", "Admitted", "The workload is admitted")), id="admitted"),
        pytest.param(workload(), id="Kueue has not looked at it yet"),
        pytest.param({"metadata": {"name": "job-r"}}, id="nobody's, and empty"),
    ],
)
def test_of_others_it_says_nothing(found: dict[str, Any]) -> None:
    assert dict(read_notices(found)) == {}


class Workloads:
    """An API server with these Workloads, or with a problem in their place."""

    def __init__(self, *found: dict[str, Any], problem: Exception | None = None) -> None:
        self._found, self._problem = found, problem
        self.lists = 0

    async def all_of(self, *_: object, **__: str) -> AsyncIterator[dict[str, Any]]:
        self.lists += 1
        if self._problem:
            raise self._problem
        for each in self._found:
            yield each


async def test_one_list_is_for_all_jobs_of_a_namespace() -> None:
    server: Any = Workloads(workload(NO_QUOTA), workload(NO_QUEUE, uid="job-2"))
    cluster = Cluster(server)
    found = [await cluster.queue_notice_of("speech", uid) for uid in (JOB_UID, "job-2", "job-3")]
    assert [notice and notice.kind for notice in found] == ["Waits", "Inadmissible", None]
    assert server.lists == 1


@pytest.mark.parametrize(
    "problem", [NotFoundError("no such kind"), RefusedError("forbidden")], ids=["no Kueue", "no right"]
)
async def test_without_kueue_or_the_right_nothing_fails(problem: Exception) -> None:
    server: Any = Workloads(problem=problem)
    cluster = Cluster(server)
    assert [await cluster.queue_notice_of("speech", uid) for uid in (JOB_UID, "job-2")] == [None, None]
    assert server.lists == 1


def test_other_numbers_are_no_news_and_another_job_has_none() -> None:
    cache = ObjectCache(PartitionBook(lambda _: None))
    cache.put_run(version(run_object(), 10))
    shown = job()
    cache.put_workload("Job", version(shown, 11))
    run, uid = cache.run(UID), shown["metadata"]["uid"]
    assert run is not None
    one = QueueNotice("job-r", "speech", "1 more needed")
    assert cache.keep_queue_notice(UID, uid, one)
    assert not cache.keep_queue_notice(UID, uid, QueueNotice("job-r", "speech", "2 more needed"))
    assert cache.world(run, at(20)).queue_notice == one
    assert cache.keep_queue_notice(UID, uid, QueueNotice("job-r", "night", "2 more needed"))
    assert cache.keep_queue_notice(UID, uid, None)
    assert not cache.keep_queue_notice(UID, uid, None)
    cache.keep_queue_notice(UID, "another", one)
    assert cache.world(run, at(30)).queue_notice is None
