"""Passes over a run: what is logged when one fails, what is done to the Job, and in which order a new run gets both."""

import random
from typing import Any

import pytest

from api_server_model import Server
from replica_model import NAMESPACE, WITHOUT_POOL, Replica
from run_objects import RUNTIMES, time
from specs import MINIMAL
from whisper_finetune_operator.api.errors import RefusedError
from whisper_finetune_operator.kubernetes_objects import uid_of
from whisper_finetune_operator.planning.plan import QUEUE_LABEL
from whisper_finetune_operator.planning.runtimes import Runtimes

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


CPU = {"name": "cpu", "accelerator": "cpu", "image": "trainer:1"}
OF_CPUS = Runtimes.model_validate({"defaultRuntime": "cpu", "runtimes": [CPU]})
OF_OTHER_CPUS = Runtimes.model_validate({"defaultRuntime": "large", "runtimes": [CPU, {**CPU, "name": "large"}]})


def new_run(server: Server, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "one", "namespace": NAMESPACE, "creationTimestamp": time(1)}
    status = {"observedGeneration": -1}
    return server.put("whisperfinetunes", {"metadata": metadata, "spec": {**MINIMAL, **spec}, "status": status})


async def test_new_run_gets_its_job_first_and_then_one_status_that_tells_of_the_pod_too() -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    run = new_run(server)
    replica = Replica(server, OF_CPUS)
    replica.see()
    untouched = run["metadata"]["resourceVersion"]
    again_seconds = await replica.reconciler.reconcile(uid_of(run))
    (job,) = server.of("jobs")
    assert (run["metadata"]["resourceVersion"], again_seconds) == (untouched, 1.0)
    server.control_job(job, [])
    (pod,) = server.of("pods")
    replica.see()
    await replica.look(uid_of(run))
    written = run["metadata"]["resourceVersion"]
    assert (run["status"]["state"], run["status"]["runtime"]) == ("Pending", "cpu")
    assert (run["status"]["jobName"], run["status"]["podName"]) == (
        job["metadata"]["name"],
        pod["metadata"]["name"],
    )
    replica.see()
    await replica.look(uid_of(run))
    assert run["metadata"]["resourceVersion"] == written


async def test_run_whose_operator_ended_before_its_first_status_keeps_its_runtime() -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    run = new_run(server)
    first, second = Replica(server, OF_CPUS), Replica(server, OF_OTHER_CPUS)
    first.see()
    await first.look(uid_of(run))
    assert run["status"] == {"observedGeneration": -1}
    second.see()
    await second.look(uid_of(run))
    assert run["status"]["runtime"] == "cpu"
    assert len(server.of("jobs")) == 1


async def test_runtime_that_is_no_name_on_a_job_is_not_taken_over() -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    run = new_run(server)
    replica = Replica(server, OF_CPUS)
    replica.see()
    await replica.look(uid_of(run))
    (job,) = server.of("jobs")
    job["metadata"]["annotations"]["whisperfinetune.dev/runtime"] = "x" * 64
    server.changed(job)
    replica.see()
    await replica.look(uid_of(run))
    assert "runtime" not in run["status"]


@pytest.mark.parametrize("is_seen", [True, False])
async def test_job_that_is_deleted_before_the_first_status_is_followed_once_its_pod_is_gone(*, is_seen: bool) -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    run = new_run(server)
    replica = Replica(server, OF_CPUS)
    replica.see()
    await replica.look(uid_of(run))
    (job,) = server.of("jobs")
    server.control_job(job, [])
    (pod,) = server.of("pods")
    del server.objects["jobs", NAMESPACE, job["metadata"]["name"]]
    # The watch of the pods may be later than that of the Jobs.
    replica.see(what=("whisperfinetunes", "jobs", *(("pods",) if is_seen else ())))
    await replica.look(uid_of(run))
    assert server.of("jobs") == []
    assert run["status"]["podName"] == pod["metadata"]["name"]
    del server.objects["pods", NAMESPACE, pod["metadata"]["name"]]
    replica.see()
    await replica.look(uid_of(run))
    assert len(server.of("jobs")) == 1


async def test_run_of_ipus_gets_its_status_before_its_job() -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    run = new_run(server)
    replica = Replica(server, WITHOUT_POOL)
    run["spec"]["runtime"] = "pod16"
    replica.see()
    replica.door.hold("create", "jobs")
    await replica.look(uid_of(run))
    assert (run["status"]["runtime"], run["status"]["ipus"]) == ("pod16", 2)
    await replica.wake()
