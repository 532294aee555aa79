"""Two installations that see one run: one follows it and the other leaves it alone. And how one takes over."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api_server_model import Server
from namespace_view import Namespace
from operator_process import OperatorProcess, Start, until
from replica_model import NAMESPACE, WITHOUT_POOL, Replica
from run_objects import run_object
from whisper_finetune_api.v1alpha1 import KIND, WhisperFineTuneStatus
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.acting.installations import (
    INSTALLATION_ANNOTATION,
    Installation,
    maker_of_workload,
)
from whisper_finetune_operator.api.api_server import ApiServer
from whisper_finetune_operator.api.connection import Connection, find_access
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.runs import STATUS_MANAGER, Run

OFTEN = {"OPERATOR_RESYNC_SECONDS": "0.5"}
FIRST, SECOND = Installation("a", "wft"), Installation("b", "wft")


def written_by(*managers: str) -> Run:
    """Return a run with the managers on its status, and others beside them."""
    made = run_object()
    applied = [{"manager": each, "operation": "Apply", "subresource": "status"} for each in managers]
    users = [
        {"manager": "kubectl", "operation": "Update"},
        {"manager": f"{STATUS_MANAGER}/c/spec", "operation": "Apply"},
        {"manager": "kubectl-edit", "operation": "Update", "subresource": "status"},
    ]
    made["metadata"]["managedFields"] = [*users, *applied]
    return Run.from_object(made)


@pytest.mark.parametrize(
    ("managers", "follower"),
    [
        ((), None),
        ((FIRST.manager,), None),
        ((STATUS_MANAGER,), None),
        ((STATUS_MANAGER, FIRST.manager), None),
        ((SECOND.manager,), "b/wft"),
        ((STATUS_MANAGER, SECOND.manager), "b/wft"),
        ((SECOND.manager, FIRST.manager), None),
    ],
)
def test_who_follows_a_run_in_the_eyes_of_the_first(managers: tuple[str, ...], follower: str | None) -> None:
    assert FIRST.follower_before(written_by(*managers)) == follower


def test_two_never_both_follow_a_run_that_is_written() -> None:
    for managers in ((FIRST.manager,), (SECOND.manager,), (FIRST.manager, SECOND.manager)):
        follow = [each.follower_before(written_by(*managers)) is None for each in (FIRST, SECOND)]
        assert sum(follow) == 1, managers


def test_runs_of_one_that_is_gone_are_taken_over_when_the_admin_says_so() -> None:
    heir = replace(FIRST, taken_over=frozenset({"b/wft"}))
    assert heir.follower_before(written_by(SECOND.manager)) is None
    status = WhisperFineTuneStatus.model_validate({"observedGeneration": 1, "state": "Pending"})
    assert heir.managers_left(written_by(SECOND.manager, heir.manager), status) == (SECOND.manager,)
    assert heir.follower_before(written_by(Installation("c", "wft").manager)) == "c/wft"


@pytest.mark.parametrize(
    ("of_operator", "of_run", "serves"),
    [(None, None, True), ("night", "night", True), ("night", None, False), (None, "night", False), ("a", "b", False)],
)
async def test_run_of_another_class_is_left_alone(
    of_operator: str | None,
    of_run: str | None,
    serves: bool,  # noqa: FBT001 (a parameter of the test)
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    run = unfinished("one")
    run["spec"] = {**run["spec"], **({"operatorClass": of_run} if of_run else {})}
    uid = server.put("whisperfinetunes", run)["metadata"]["uid"]
    await looks(uid, *[Replica(server, WITHOUT_POOL, installation=replace(FIRST, operator_class=of_operator))] * 2)
    assert (len(server.of("jobs")), bool(server.of("events"))) == (1 if serves else 0, False)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_names_are_distinct_and_short_enough_for_the_api() -> None:
    long = [Installation("n" * 63, "l" * 62 + end).manager for end in "ab"]
    assert len({*long, FIRST.manager}) == 3
    assert all(len(each) <= 128 for each in long)


async def test_second_installation_leaves_a_run_alone_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    run = server.put("whisperfinetunes", unfinished("one"))
    first = Replica(server, WITHOUT_POOL, installation=FIRST)
    second = Replica(server, WITHOUT_POOL, installation=SECOND)
    for replica in (first, second):
        replica.see()
    await first.look(run["metadata"]["uid"])
    version = server.of("whisperfinetunes")[0]["metadata"]["resourceVersion"]
    jobs = server.of("jobs")
    for _ in range(3):
        # The first time it has not seen yet that the other was quicker, and its write is refused.
        await second.look(run["metadata"]["uid"])
        second.see()
    assert server.of("whisperfinetunes")[0]["metadata"]["resourceVersion"] == version
    assert server.of("jobs") == jobs
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1
    assert "installation a/wft follows runs" in told[0]


@pytest.mark.parametrize("sees_the_job", [True, False])
async def test_run_without_a_status_is_its_whose_name_is_on_the_job(
    sees_the_job: bool,  # noqa: FBT001 (a parameter of the test)
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    uid = server.put("whisperfinetunes", unfinished("one"))["metadata"]["uid"]
    first = Replica(server, WITHOUT_POOL, installation=FIRST)
    second = Replica(server, WITHOUT_POOL, installation=SECOND)
    for replica in (first, second):
        replica.see()
    await first.look(uid)
    jobs = server.of("jobs")
    assert [job["metadata"]["annotations"][INSTALLATION_ANNOTATION] for job in jobs] == [FIRST.manager]
    assert Run.from_object(server.of("whisperfinetunes")[0]).status_managers == ()
    if sees_the_job:
        second.see()
    for _ in range(3):
        await second.look(uid)
    assert Run.from_object(server.of("whisperfinetunes")[0]).status_managers == ()
    assert server.of("jobs") == jobs
    assert sum("installation a/wft follows runs" in record.getMessage() for record in caplog.records) == 1
    await first.look(uid)
    assert Run.from_object(server.of("whisperfinetunes")[0]).status_managers == (FIRST.manager,)


async def test_job_that_names_an_installation_is_another_ones_only_where_it_is_the_runs() -> None:
    """Whoever may make Jobs must not be able to keep the operator from a run by a name on one of theirs."""
    run = written_by()
    job = {"metadata": {"annotations": {INSTALLATION_ANNOTATION: SECOND.manager}}}
    assert maker_of_workload(None, run) is None
    assert maker_of_workload(job, run) is None
    owned = {**job["metadata"], "ownerReferences": [{"kind": KIND, "uid": run.uid, "controller": True}]}
    assert maker_of_workload({"metadata": owned}, run) == SECOND.manager
    assert FIRST.follower_before(run, SECOND.manager) == "b/wft"
    assert FIRST.follower_before(run, FIRST.manager) is None
    assert replace(FIRST, taken_over=frozenset({"b/wft"})).follower_before(run, SECOND.manager) is None
    assert FIRST.follower_before(written_by(FIRST.manager), SECOND.manager) is None
    assert FIRST.follower_before(written_by(STATUS_MANAGER), SECOND.manager) == "b/wft"


async def test_ipu_job_is_not_made_where_another_installation_has_just_made_a_job() -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    uid = server.put("whisperfinetunes", unfinished("one"))["metadata"]["uid"]
    offered = {"name": "pod16", "accelerator": "ipu", "image": "trainer:1", "workload": "IPUJob"}
    second = Replica(server, Runtimes.model_validate({"runtimes": [offered]}), installation=SECOND)
    second.see()
    await looks(uid, Replica(server, WITHOUT_POOL, installation=FIRST))
    await second.look(uid)
    assert (len(server.of("jobs")), len(server.of("ipujobs"))) == (1, 0)


async def test_run_goes_to_the_installation_that_offers_its_runtime(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    uid = server.put("whisperfinetunes", unfinished("one"))["metadata"]["uid"]
    first, second = without_its_runtime(server, FIRST), Replica(server, WITHOUT_POOL, installation=SECOND)
    await looks(uid, first, second, first, second, first)
    assert Run.from_object(server.of("whisperfinetunes")[0]).status_managers == (SECOND.manager,)
    assert len(server.of("jobs")) == 1
    assert server.of("whisperfinetunes")[0]["status"]["runtime"] == "pod16"
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [each.split(" follows")[0] for each in told] == ["installation b/wft"]


async def test_run_that_none_of_two_offers_is_written_once() -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    uid = server.put("whisperfinetunes", unfinished("one"))["metadata"]["uid"]
    first, second = without_its_runtime(server, FIRST), without_its_runtime(server, SECOND, "cuda")
    await looks(uid, first)
    version = server.of("whisperfinetunes")[0]["metadata"]["resourceVersion"]
    await looks(uid, second, first, second)
    run = server.of("whisperfinetunes")[0]
    assert (run["metadata"]["resourceVersion"], run["status"]["reason"]) == (version, "RuntimeNotFound")


async def test_run_that_is_no_longer_offered_before_it_began_is_let_go() -> None:
    server = Server(random.Random(1))  # noqa: S311 (no secret)
    uid = server.put("whisperfinetunes", unfinished("one"))["metadata"]["uid"]
    await looks(uid, without_its_runtime(server, FIRST))
    # As an earlier version wrote it: under its own name.
    server.of("whisperfinetunes")[0]["metadata"]["managedFields"][0]["manager"] = FIRST.manager
    second = Replica(server, WITHOUT_POOL, installation=SECOND)
    await looks(uid, second, without_its_runtime(server, FIRST), second, second)
    assert Run.from_object(server.of("whisperfinetunes")[0]).status_managers == (SECOND.manager,)
    assert len(server.of("jobs")) == 1


def without_its_runtime(server: Server, installation: Installation, offered: str = "cpu") -> Replica:
    runtimes = {"runtimes": [{"name": offered, "accelerator": "cpu", "image": "trainer:1"}]}
    return Replica(server, Runtimes.model_validate(runtimes), installation=installation)


async def looks(uid: str, *replicas: Replica) -> None:
    """Let the replicas look at the run one after the other, each at what is there by then."""
    for replica in replicas:
        replica.see()
        await replica.look(uid)


def unfinished(name: str) -> dict[str, Any]:
    made = run_object({"runtime": "pod16"})
    made["metadata"] = {"name": name, "namespace": NAMESPACE}
    return made


@pytest.mark.apiserver
@pytest.mark.usefixtures("install_crd")
async def test_status_that_an_earlier_version_wrote_becomes_this_ones_with_nothing_left_behind(
    control_plane: Any, place: Namespace
) -> None:
    with_partition = {"observedGeneration": 1, "state": "Pending", "partition": "p4a"}
    async with Connection(find_access(control_plane), connections=4, timeout_seconds=20) as way:
        api = ApiServer(way, Metrics())
        run = Run.from_object(place.create_run("upgraded"))
        before = await Cluster(api)._apply(run, run.resource_version, {"status": with_partition}, STATUS_MANAGER)
        own = Cluster(api, FIRST)
        without = WhisperFineTuneStatus.model_validate({"observedGeneration": 1, "state": "Training"})
        written = Run.from_object(await own.apply_status(Run.from_object(before), without))
        assert written.status_managers == (FIRST.manager,)
        assert written.status["state"] == "Training"
        assert "partition" not in written.status
        again = without.model_copy(update={"job_name": "a-job"})
        written = Run.from_object(await own.apply_status(written, again))
        assert "jobName" not in Run.from_object(await own.apply_status(written, without)).status


@pytest.mark.apiserver
@pytest.mark.usefixtures("install_crd")
def test_of_two_installations_in_one_namespace_each_run_has_one(place: Namespace, start: Start) -> None:
    """Both act, each by its own Lease; who is quicker follows the run, whatever becomes of it then."""
    replicas = [installation(start, name) for name in ("one", "two")]
    until(lambda: all(replica.acts() for replica in replicas), what="that both act")
    names = [f"run-{number}" for number in range(6)]
    for name in names:
        place.create_run(name)
    until(lambda: len(place.pods()) == len(names), what="the pods")
    for pod in place.pods():
        place.run_pod(pod)
    until(lambda: {place.run(name)["status"].get("state") for name in names} == {"Preparing"}, what="that all run")
    assert all(len(Run.from_object(place.run(name)).status_managers) == 1 for name in names)
    until(lambda: any(FOLLOWED in str(event.message) for name in names for event in place.events(name)), what="why")
    told = [sum("they are left alone" in each for each in replica.messages()) for replica in replicas]
    assert max(told) == 1
    versions = [place.versions(name) for name in names]
    seen = [lists(replica) for replica in replicas]
    until(
        lambda: all(lists(replica) > 2 + before for replica, before in zip(replicas, seen, strict=True)), what="looks"
    )
    assert [place.versions(name) for name in names] == versions
    assert len(place.jobs()) == len(names)


@pytest.mark.apiserver
@pytest.mark.usefixtures("install_crd")
def test_run_waits_for_the_installation_that_offers_its_runtime(place: Namespace, start: Start, tmp_path: Path) -> None:
    first = installation(start, "one")
    until(first.acts, what="that the first acts")
    place.create_run("elsewhere", runtime="other")
    until(lambda: place.run("elsewhere").get("status", {}).get("reason") == "RuntimeNotFound", what="the reason")
    (tmp_path / "other.yaml").write_text("runtimes: [{name: other, accelerator: cpu, image: 'other:1'}]\n")
    second = installation(start, "two", "--runtimes", str(tmp_path / "other.yaml"))
    place.run_pod(until(place.pods, what="the pod of the second")[0])
    until(lambda: place.run("elsewhere")["status"]["state"] == "Preparing", what="that it runs")
    manager = until(lambda: only_manager(place.run("elsewhere")), what="that nothing is left under another name")
    assert manager.endswith("/two")
    version, seen = place.versions("elsewhere"), [lists(first), lists(second)]
    until(lambda: lists(first) > 2 + seen[0] and lists(second) > 2 + seen[1], what="looks")
    assert place.versions("elsewhere") == version
    assert place.run("elsewhere")["status"]["runtime"] == "other"


FOLLOWED = "leaves it alone"


def only_manager(run: dict[str, Any]) -> str | None:
    """Return who wrote all of the status, or None where several did."""
    first, *others = Run.from_object(run).status_managers
    return None if others else first


def installation(start: Start, name: str, *arguments: str) -> OperatorProcess:
    return start(*arguments, name=name, environment={"OPERATOR_LEASE_NAME": name, **OFTEN})


def lists(replica: OperatorProcess) -> float:
    """Return how often the replica compared what it knows with the server; each time it looks at all runs."""
    return replica.requests().get(("list", "whisperfinetunes"), 0.0)
