"""Fixtures: a namespace on the real API server, and replicas of the operator that watch it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from namespace_view import Namespace
from operator_process import OperatorProcess, Proxy, Start

#: So much of an operator's log is shown where its test failed.
_LINES_OF_LOG = 30


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
        ended = process.process.poll()
        process.kill()
        # pytest shows it where the test has failed.
        print(process.log.name, "still at work" if ended is None else f"ended with {ended}")
        print(*process.lines()[-_LINES_OF_LOG:], sep="\n")


@pytest.fixture
def proxy(control_plane: Path, tmp_path: Path) -> Iterator[Proxy]:
    """Return a way to the API server that can be frozen."""
    made = Proxy(control_plane, tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
def token_file(tmp_path: Path, place: Namespace) -> Path:
    """Return a file with a token of a service account that may do everything; it ends with the Secret `first`."""
    place.allow_everything("rotating")
    path = tmp_path / "token"
    path.write_text(place.service_account_token("rotating", bound_to="first"), encoding="utf-8")
    return path


@pytest.fixture
def rotating_kubeconfig(control_plane: Path, tmp_path: Path, token_file: Path) -> Path:
    """Return a kubeconfig that reads its token from `token_file`."""
    config = yaml.safe_load(control_plane.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"tokenFile": str(token_file)}
    path = tmp_path / "rotating.kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
