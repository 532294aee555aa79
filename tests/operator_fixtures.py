"""Fixtures: a namespace on the real API server, and replicas of the operator that watch it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from namespace_view import Namespace
from operator_process import OperatorProcess, Proxy, Start


@pytest.fixture
def place(api: client.ApiClient) -> Iterator[Namespace]:
    namespace = Namespace(api)
    yield namespace
    namespace.core.delete_namespace(namespace.name)


@pytest.fixture
def start(control_plane: Path, tmp_path: Path, place: Namespace) -> Iterator[Start]:
    """Return what starts a replica that watches the test's namespace and keeps its Lease there."""
    started: list[OperatorProcess] = []

    def start_one(*arguments: str, kubeconfig: Path = control_plane, **options: Any) -> OperatorProcess:
        environment = {"POD_NAMESPACE": place.name, **options.pop("environment", {})}
        arguments = ("--namespace", place.name, *arguments)
        started.append(OperatorProcess(kubeconfig, tmp_path, *arguments, environment=environment, **options))
        return started[-1]

    yield start_one
    for process in started:
        process.kill()


@pytest.fixture
def proxy(control_plane: Path, tmp_path: Path) -> Iterator[Proxy]:
    """Return a way to the API server that can be frozen."""
    made = Proxy(control_plane, tmp_path)
    yield made
    made.process.kill()
    made.process.wait()
