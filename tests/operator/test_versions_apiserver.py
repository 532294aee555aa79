"""A CRD that is newer or older than this operator, on a real API server."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from kubernetes import client

from namespace_view import Namespace
from operator_process import until
from repository import ROOT
from run_objects import RUNTIMES, START
from whisper_finetune_api.causes import EXIT_UNAVAILABLE
from whisper_finetune_operator.acting.cluster import Cluster
from whisper_finetune_operator.api import preflight
from whisper_finetune_operator.api.api_server import ApiServer
from whisper_finetune_operator.api.connection import Connection, find_access
from whisper_finetune_operator.deciding import decisions
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.world import World

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("install_crd")]
DEFINITION = yaml.safe_load((ROOT / "crds" / "whisperfinetunes.yaml").read_text(encoding="utf-8"))


@pytest_asyncio.fixture
async def server(control_plane: Path) -> AsyncIterator[ApiServer]:
    async with Connection(find_access(control_plane), connections=4, timeout_seconds=20) as way:
        yield ApiServer(way, Metrics())


@contextmanager
def another_crd(api: client.ApiClient, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Have the API server serve another version of the CRD, whose schema's properties `change` changes."""
    extensions = client.ApiextensionsV1Api(api)

    def serve(definition: dict[str, Any]) -> None:
        name = definition["metadata"]["name"]
        known = extensions.read_custom_resource_definition(name)
        definition["metadata"]["resourceVersion"] = known.metadata.resource_version
        extensions.replace_custom_resource_definition(name, definition)

    changed = copy.deepcopy(DEFINITION)
    change(changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"])
    serve(changed)
    try:
        yield
    finally:
        serve(copy.deepcopy(DEFINITION))


def newer(properties: dict[str, Any]) -> None:
    properties["spec"]["properties"]["priority"] = {"type": "string"}
    properties["status"]["properties"]["gpuHours"] = {"type": "string"}


def older(properties: dict[str, Any]) -> None:
    status = properties["status"]["properties"]
    status["state"]["enum"].remove("Training")
    del status["reason"], status["progress"]["properties"]["loss"]


def serves_priority(place: Namespace) -> bool:
    made = place.create_run("probe", priority="low")
    place.delete_run("probe")
    return "priority" in made["spec"]


async def test_a_newer_crd_keeps_its_fields(server: ApiServer, api: client.ApiClient, place: Namespace) -> None:
    cluster = Cluster(server)
    with another_crd(api, newer):
        until(lambda: serves_priority(place), what="the newer CRD")
        place.create_run("new", priority="low")
        place.custom.patch_namespaced_custom_object_status(*place._place, "new", {"status": {"gpuHours": "1.0"}})
        run = Run.from_object(place.run("new"))
        decided = decisions.decide(World(run, None, (), None, None, START), RUNTIMES)
        (told,) = [each for each in decided.status.conditions if each.type == "Succeeded"]
        assert told.reason == "VersionMismatch"
        assert "spec.priority: it does not know this field" in told.message
        assert decided.actions == ()
        written = await cluster.apply_status(run, decided.status)
        assert written["status"]["gpuHours"] == "1.0"
        assert written["status"]["reason"] == "VersionMismatch"
        again = await cluster.apply_status(Run.from_object(written), decided.status)
        assert again["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]
        await preflight.check_prerequisites(server, place.name, [])


async def complaint(server: ApiServer, place: Namespace) -> str:
    """Return why the operator would not start; empty where it would."""
    try:
        await preflight.check_prerequisites(server, place.name, [])
    except preflight.StartError as refused:
        return f"{refused.exit_code}: {refused}"
    return ""


async def test_an_older_crd_is_told_before_the_start(
    server: ApiServer, api: client.ApiClient, place: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_LOOKED_AGAIN_AFTER_SECONDS", (0.1,) * 600)
    assert await complaint(server, place) == ""
    monkeypatch.setattr(preflight, "_LOOKED_AGAIN_AFTER_SECONDS", ())
    with another_crd(api, older):
        async with asyncio.timeout(60):
            while not (told := await complaint(server, place)):  # noqa: ASYNC110 (it happens in the API server)
                await asyncio.sleep(0.1)
    assert told == (
        f"{EXIT_UNAVAILABLE}: the CRD is older than this operator, "
        "and its status lacks state=Training, reason, progress.loss: "
        "kubectl apply --server-side -f crds/whisperfinetunes.yaml"
    )
