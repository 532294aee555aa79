"""Passes over a run: what is logged when one fails, and what is done to the Job."""

import random

import pytest

from api_server_model import Server
from replica_model import NAMESPACE, Replica
from run_objects import RUNTIMES, time
from specs import MINIMAL
from whisper_finetune_operator.api.errors import RefusedError
from whisper_finetune_operator.kubernetes_objects import uid_of
from whisper_finetune_operator.planning.plan import QUEUE_LABEL
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.watching.workqueue import SETTLE_SECONDS

FORBIDDEN = RefusedError("leases is forbidden")


async def test_a_look_that_fails_by_the_same_again_complains_once(caplog: pytest.LogCaptureFixture) -> None:
    reconciler = Replica(Server(random.Random(1))).reconciler  # noqa: S311 (no secret)
    for problem in (FORBIDDEN, FORBIDDEN, RefusedError("jobs is forbidden")):
        reconciler.report_failure("uid-1", problem, 60.0)
    assert [record.getMessage() for record in caplog.records] == [
        "reconciling again in 60.0 s: leases is forbidden",
        "reconciling again in 60.0 s: jobs is forbidden",
    ]
    await reconciler.reconcile("uid-1")
    reconciler.report_failure("uid-1", RefusedError("jobs is forbidden"), 0.5)
    assert caplog.messages[-1] == "reconciling again in 0.5 s: jobs is forbidden"


async def test_a_job_that_waits_follows_its_run_to_another_queue() -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    replica = Replica(server, RUNTIMES)
    metadata = {"name": "one", "namespace": NAMESPACE, "creationTimestamp": time(1), "labels": {QUEUE_LABEL: "day"}}
    run = server.put("whisperfinetunes", {"metadata": metadata, "spec": MINIMAL, "status": {}})
    replica.see()
    await replica.look(uid_of(run))
    (job,) = server.of("jobs")
    job["spec"]["suspend"] = True
    run["metadata"]["labels"] = {QUEUE_LABEL: "night"}
    server.changed(job)
    server.changed(run)
    replica.see()
    await replica.look(uid_of(run))
    assert job["metadata"]["labels"][QUEUE_LABEL] == "night"
    assert "whisperfinetune.dev/run-uid" in job["metadata"]["labels"]


async def test_the_job_comes_first_and_one_status_tells_of_it() -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    replica = Replica(server, RUNTIMES)
    uid = new_run(server)
    replica.see()
    assert await replica.reconciler.reconcile(uid) == SETTLE_SECONDS
    (job,), (run,) = server.of("jobs"), server.of("whisperfinetunes")
    assert "state" not in run["status"]
    version = run["metadata"]["resourceVersion"]
    await replica.reconciler.reconcile(uid)
    (run,) = server.of("whisperfinetunes")
    assert (run["status"]["state"], run["status"]["jobName"]) == ("Pending", job["metadata"]["name"])
    assert run["status"]["runtime"] == RUNTIMES.default_runtime
    assert run["metadata"]["resourceVersion"] != version


async def test_a_leader_that_finds_a_job_without_a_status_keeps_its_runtime() -> None:
    """The one that made the Job ended before it said so, and the admin's default runtime is another one by now."""
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    uid = new_run(server)
    first = Replica(server, RUNTIMES)
    first.see()
    await first.reconciler.reconcile(uid)
    offered = {"name": "other", "accelerator": "cpu", "image": "trainer:2"}
    second = Replica(server, Runtimes.model_validate({"defaultRuntime": "other", "runtimes": [offered]}))
    second.see()
    await second.reconciler.reconcile(uid)
    (job,), (run,) = server.of("jobs"), server.of("whisperfinetunes")
    assert run["status"]["runtime"] == RUNTIMES.default_runtime
    assert run["status"]["jobName"] == job["metadata"]["name"]


def new_run(server: Server) -> str:
    metadata = {"name": "one", "namespace": NAMESPACE, "creationTimestamp": time(1)}
    return uid_of(server.put("whisperfinetunes", {"metadata": metadata, "spec": MINIMAL, "status": {}}))
