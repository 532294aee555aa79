"""Fixtures of the end-to-end tests: a cluster with a node, the operator in a pod on it, and a namespace per test."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kubernetes import client, config

from e2e import installation, namespaces, speech_volume
from e2e.operator_pod import REPLICAS, OperatorPod
from e2e.runs import Runs
from images import loading
from images.loading import cluster_program

CLUSTER = os.environ.get("CLUSTER_NAME") or "test"


@pytest.fixture(scope="session")
def cluster_name() -> str:
    return CLUSTER


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A cluster with a node; it is ended after the tests where they started it."""
    was_up = installation.is_up(CLUSTER)
    cluster_program("up", "--name", CLUSTER)
    yield Path(cluster_program("kubeconfig", "--name", CLUSTER))
    if not was_up:
        cluster_program("down", "--name", CLUSTER)


@pytest.fixture(scope="session")
def cluster_api(kubeconfig: Path) -> Iterator[client.ApiClient]:
    """The official client, an independent witness, as cluster admin."""
    with config.new_client_from_config(str(kubeconfig)) as made:
        yield made


@pytest.fixture(scope="session")
def operator(kubeconfig: Path, cluster_api: client.ApiClient) -> OperatorPod:
    """The operator, installed by its chart and ready."""
    namespaces.remove_leftovers(cluster_api)
    version = loading.load_images(CLUSTER, client.CoreV1Api(cluster_api))
    installation.install_chart(kubeconfig, version)
    installed = OperatorPod(cluster_api)
    installed.wait_for(ready=REPLICAS)
    return installed


@pytest.fixture(scope="session")
def volume() -> Path:
    """The folder of the node with models and data sets, and with what the tests' runs write."""
    folder = Path(cluster_program("volume", "speech", "--name", CLUSTER))
    empty(folder)
    speech_volume.fill(folder)
    return folder


def empty(folder: Path) -> None:
    """Remove what an earlier session left; the folder itself may be in use as a mount."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture(scope="module")
def make_runs(cluster_api: client.ApiClient, operator: OperatorPod, volume: Path) -> Iterator[Callable[..., Runs]]:
    """Make a namespace whose claim `speech` is the volume; further claims by keyword, with their folders."""
    with ExitStack() as made:

        def make(purpose: str, **claims: Path) -> Runs:
            name = f"{purpose}-{secrets.token_hex(3)}"
            made.enter_context(namespaces.made_namespace(cluster_api, name, {"speech": volume, **claims}))
            return Runs(cluster_api, name, operator.log)

        yield make


@pytest.fixture(scope="module")
def new_volume() -> Callable[..., Path]:
    """Make an empty folder of the node; with `megabytes`, one on a disk of that size."""

    def make(name: str, megabytes: int | None = None) -> Path:
        limit = [f"--megabytes={megabytes}"] if megabytes else []
        folder = Path(cluster_program("volume", name, *limit, "--name", CLUSTER))
        empty(folder)
        return folder

    return make


@pytest.fixture
def label_node(cluster_api: client.ApiClient) -> Iterator[Callable[[str], None]]:
    """Give every node a label for as long as the test lasts."""
    core, given = client.CoreV1Api(cluster_api), list[str]()

    def write(label: str, value: str | None) -> None:
        for node in core.list_node().items:
            core.patch_node(node.metadata.name, {"metadata": {"labels": {label: value}}})

    def give(label: str) -> None:
        given.append(label)
        write(label, "")

    yield give
    for label in given:
        write(label, None)
