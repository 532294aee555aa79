"""Fixtures that bring up the local Kubernetes. The markers of a test say what it needs."""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from xdist.scheduler import LoadFileScheduling

import parts
from repository import ROOT

if TYPE_CHECKING:
    from kubernetes import client

#: Python 3.8's: test_python38.py runs them there.
collect_ignore = ["ipu", "poptorch_emulation"]
CLUSTER_PROGRAM = ROOT / "local" / "cluster"
#: What a test may need that not every machine has; each is the marker of one of the parts.
NEEDING_MORE = {"apiserver", "cluster", "browser", "speech"}


class FileByFile(LoadFileScheduling):
    """Where several workers run the tests, each takes whole files, so that fixtures of a module are made once."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(parts.ONE_CLUSTER):
            return parts.ONE_CLUSTER
        return nodeid if nodeid.startswith(parts.TEST_BY_TEST) else str(super()._split_scope(nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: no garbage is looked for meanwhile, nor among it afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


marks_spelled_in = functools.cache(parts.marks_spelled_in)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileByFile:
    # By itself it would begin with the files of most tests, which are the quickest.
    config.option.loadscopereorder = False
    return FileByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker waits at the end for one that has just begun."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.nodeid.startswith(parts.ON_PYTHON_38), item.path not in slow))


def pytest_itemcollected(item: pytest.Item) -> None:
    """A part of the tests is looked for only in files that spell its markers (`parts.py`)."""
    spelled = marks_spelled_in(item.path)
    if unseen := {mark.name for mark in item.iter_markers()} & NEEDING_MORE - spelled:
        raise pytest.UsageError(
            f"{item.nodeid} is marked {', '.join(sorted(unseen))}, but its file does not spell that"
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the programs of bench/ have printed, so that the log of each CI run has their small tables."""
    for report in terminalreporter.stats.get("passed", ()):
        for name, printed in report.user_properties:
            if name == "printed by a bench":
                terminalreporter.write_sep("-", report.nodeid)
                terminalreporter.write_line(printed)


def cluster_program(*arguments: str) -> str:
    """Run the local cluster's program and return what it prints; its own progress goes to the terminal."""
    process = subprocess.run(
        [sys.executable, str(CLUSTER_PROGRAM), *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return process.stdout.strip()


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Path]:
    """Kubeconfig of a real API server without a node, ended with the tests."""
    name = f"api-{os.getpid()}"
    cluster_program("up", "--no-node", "--name", name)
    yield Path(cluster_program("kubeconfig", "--name", name))
    cluster_program("down", "--purge", "--name", name)


@pytest.fixture(scope="session")
def api(control_plane: Path) -> Iterator[client.ApiClient]:
    """Return the official client, an independent witness, as cluster admin."""
    from kubernetes import config  # noqa: PLC0415 -- most tests need none, and it takes a third of a second

    with config.new_client_from_config(str(control_plane)) as made:
        yield made


@pytest.fixture(scope="session")
def install_crd(api: client.ApiClient) -> None:
    """The CRD is installed and served."""
    from kubernetes import client  # noqa: PLC0415 -- as above

    definition = yaml.safe_load((ROOT / "crds" / "whisperfinetunes.yaml").read_text(encoding="utf-8"))
    extensions = client.ApiextensionsV1Api(api)
    extensions.create_custom_resource_definition(definition)
    for _ in range(600):
        found = extensions.read_custom_resource_definition(definition["metadata"]["name"])
        if any(
            condition.type == "Established" and condition.status == "True"
            for condition in found.status.conditions or []
        ):
            return
        time.sleep(0.1)
    pytest.fail("the API server did not establish the CRD in 60 s")
