"""Requests to a real API server and what its answers mean: writes that must be refused, tokens that change."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from namespace_view import Namespace
from operator_process import until
from run_objects import SHA256
from whisper_finetune_api.v1alpha1 import NAME_LABEL, UID_LABEL, WhisperFineTuneStatus
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.acting.event_poster import EventPoster
from whisper_finetune_operator.api.api_server import EVENTS, RUNS, ApiServer, resource_of
from whisper_finetune_operator.api.connection import Connection, find_access
from whisper_finetune_operator.api.errors import ClusterError, ConflictError, RefusedError, UnauthorizedError
from whisper_finetune_operator.deciding.status import Announcement
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching.object_cache import ObjectCache
from whisper_finetune_operator.watching.partition_book import PartitionBook
from whisper_finetune_operator.watching.resync import Resync
from whisper_finetune_operator.watching.workqueue import Workqueue
from whisper_finetune_operator.workloads.job_kind import JOB

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("install_crd")]

PENDING = WhisperFineTuneStatus.model_validate({"observedGeneration": 1, "state": "Pending"})
TRAINING = WhisperFineTuneStatus.model_validate({"observedGeneration": 1, "state": "Training"})


@pytest_asyncio.fixture
async def server(control_plane: Path) -> AsyncIterator[ApiServer]:
    async with Connection(find_access(control_plane), connections=4, timeout_seconds=20) as way:
        yield ApiServer(way, Metrics())


def job(name: str, uid: str = "some-run") -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "trainer:none"}]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {UID_LABEL: uid, NAME_LABEL: "some"}},
        "spec": {"suspend": True, "template": template},
    }


async def test_status_of_an_old_run_does_not_land_on_a_new_one_of_its_name(server: ApiServer, place: Namespace) -> None:
    cluster = Cluster(server)
    old = Run.from_object(place.create_run("again"))
    place.delete_run("again")
    new = Run.from_object(place.create_run("again"))
    with pytest.raises(ConflictError):
        await cluster.apply_status(old, TRAINING)
    assert place.run("again")["status"] == {"observedGeneration": -1}
    await cluster.apply_status(new, PENDING)
    assert place.run("again")["status"] == {"observedGeneration": 1, "state": "Pending"}


async def test_status_is_not_written_over_a_change_that_was_not_seen(server: ApiServer, place: Namespace) -> None:
    cluster = Cluster(server)
    seen = Run.from_object(place.create_run("changed"))
    written = Run.from_object(await cluster.apply_status(seen, PENDING))
    with pytest.raises(ConflictError):
        await cluster.apply_status(seen, TRAINING)
    assert place.run("changed")["status"]["state"] == "Pending"
    await cluster.apply_status(written, TRAINING)
    assert place.run("changed")["status"]["state"] == "Training"


async def test_status_of_a_run_that_is_gone(server: ApiServer, place: Namespace) -> None:
    gone = Run.from_object(place.create_run("gone"))
    place.delete_run("gone")
    with pytest.raises(ClusterError):
        await Cluster(server).apply_status(gone, PENDING)


async def test_whole_status_is_replaced(server: ApiServer, place: Namespace) -> None:
    cluster = Cluster(server)
    model = {"uri": "pvc://out/x/model", "sha256": SHA256, "step": 1}
    with_model = WhisperFineTuneStatus.model_validate({"observedGeneration": 1, "model": model})
    run = Run.from_object(place.create_run("whole"))
    run = Run.from_object(await cluster.apply_status(run, with_model))
    assert run.status["model"] == model
    run = Run.from_object(await cluster.apply_status(run, PENDING))
    assert "model" not in run.status


async def test_same_status_again_is_no_new_version(server: ApiServer, place: Namespace) -> None:
    cluster = Cluster(server)
    run = Run.from_object(await cluster.apply_status(Run.from_object(place.create_run("same")), PENDING))
    assert Run.from_object(await cluster.apply_status(run, PENDING)) == run


async def test_job_is_deleted_by_its_uid_alone(server: ApiServer, place: Namespace) -> None:
    cluster = Cluster(server)
    made = await cluster.create({**job("one"), "metadata": {**job("one")["metadata"], "namespace": place.name}})
    uid = made["metadata"]["uid"]
    with pytest.raises(ConflictError):
        await cluster.delete("Job", place.name, "one", "another")
    assert len(place.jobs()) == 1
    await cluster.delete("Job", place.name, "one", uid)
    until(lambda: not place.jobs(), what="that the Job is gone")
    assert await cluster.delete("Job", place.name, "one", uid) is None


async def test_job_is_changed_by_its_uid_alone(server: ApiServer, place: Namespace) -> None:
    cluster = Cluster(server)
    made = await cluster.create({**job("one"), "metadata": {**job("one")["metadata"], "namespace": place.name}})
    with pytest.raises(RefusedError, match="field is immutable"):
        await cluster.patch_workload("Job", place.name, "one", "another", {"ttlSecondsAfterFinished": 7})
    changed = await cluster.patch_workload(
        "Job", place.name, "one", made["metadata"]["uid"], {"ttlSecondsAfterFinished": 7}
    )
    assert changed is not None
    assert changed["spec"]["ttlSecondsAfterFinished"] == 7
    assert await cluster.patch_workload("Job", place.name, "none", "any", {"ttlSecondsAfterFinished": 7}) is None


async def test_taken_name_is_a_conflict(server: ApiServer, place: Namespace) -> None:
    manifest = {**job("one"), "metadata": {**job("one")["metadata"], "namespace": place.name}}
    await server.create(resource_of(JOB), manifest)
    with pytest.raises(ConflictError):
        await server.create(resource_of(JOB), manifest)


async def test_refusal_is_told_in_the_servers_words(server: ApiServer, place: Namespace) -> None:
    manifest = {**job("one"), "metadata": {"name": "No Name", "namespace": place.name}}
    with pytest.raises(RefusedError, match="No Name"):
        await server.create(resource_of(JOB), manifest)


async def test_newest_refusal_of_a_jobs_pod(server: ApiServer, place: Namespace) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    place.core.create_namespaced_resource_quota(place.name, quota)
    until(lambda: place.core.read_namespaced_resource_quota("none", place.name).status.hard, what="the quota")
    manifest = job("one")
    manifest["spec"]["suspend"] = False
    manifest["metadata"]["namespace"] = place.name
    made = await server.create(resource_of(JOB), manifest)
    cluster = Cluster(server)
    until(
        lambda: place.core.list_namespaced_event(place.name, field_selector="reason=FailedCreate").items, what="events"
    )
    refusal = await cluster.refusal_of("Job", place.name, made["metadata"]["uid"])
    assert refusal is not None
    assert "exceeded quota: none" in refusal.message
    assert await cluster.refusal_of("Job", place.name, "another") is None


async def test_list_goes_over_all_its_pages(server: ApiServer, place: Namespace) -> None:
    assert [each async for each in server.all_of(RUNS, place.name, limit="2")] == []
    names = {f"run-{number}" for number in range(5)}
    for name in names:
        place.create_run(name)
    assert {each["metadata"]["name"] async for each in server.all_of(RUNS, place.name, limit="2")} == names


async def test_same_event_again_raises_its_count(server: ApiServer, place: Namespace) -> None:
    run = Run.from_object(place.create_run("said"))
    poster = EventPoster(server, Metrics(), instance="test")
    for reason in ("Pending", "Unschedulable", "Pending", "Pending"):
        poster.post(run, Announcement("Normal", reason, "as it is"))
    await poster.post_waiting()
    counts = {event.reason: (event.series or event).count for event in place.events("said")}
    assert counts == {"Pending": 3, "Unschedulable": None}
    assert {event.involved_object.uid for event in place.events("said")} == {run.uid}


async def test_resync_forgets_what_is_gone_and_asks_for_what_is_under_way(server: ApiServer, place: Namespace) -> None:
    store, looked_at = ObjectCache(PartitionBook(lambda _: None)), []

    async def work(key: str) -> None:
        looked_at.append(key)

    queue = Workqueue(work, lambda *_: None, workers=1)
    for name in ("stays", "goes", "is-over"):
        store.put_run(place.create_run(name))
    over = next(run for run in store.runs() if run.name == "is-over")
    finished = PENDING.model_copy(update={"completion_time": "2026-11-22T10:00:00Z"})
    store.put_run(await Cluster(server).apply_status(over, finished))
    manifest = {**job("one"), "metadata": {**job("one")["metadata"], "namespace": place.name}}
    made = await server.create(resource_of(JOB), manifest)
    store.put_workload("Job", made)
    place.delete_run("goes")
    place.delete_job("one")
    until(lambda: not place.jobs(), what="that the Job is gone")
    await Resync(server, store, queue, namespace=place.name).once()
    assert {run.name for run in store.runs()} == {"stays", "is-over"}
    assert list(store.workloads("Job")) == []
    assert queue.depth() == 1


async def test_token_that_is_renewed_in_its_file_is_read_anew(
    rotating_kubeconfig: Path, token_file: Path, place: Namespace
) -> None:
    async with Connection(find_access(rotating_kubeconfig), connections=1, timeout_seconds=20) as way:
        server = ApiServer(way, Metrics())
        assert await server.find(EVENTS, place.name, "none") is None
        place.core.delete_namespaced_secret("first", place.name)
        with pytest.raises(UnauthorizedError):
            await ask_until_refused(server, place)
        replace_text(token_file, place.service_account_token("rotating", bound_to="second"))
        assert await server.find(EVENTS, place.name, "none") is None


async def ask_until_refused(server: ApiServer, place: Namespace) -> None:
    """Ask until an error; the server remembers a token for some seconds."""
    while True:
        await server.find(EVENTS, place.name, "none")


def replace_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
