"""A pod's processes as the host sees them. They are found by the pod's UID in their cgroup, and killed by number."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from kubernetes import client

from e2e.waiting import SECONDS_BETWEEN_LOOKS

#: The kubelet waits longer with each start of a container that ends at once: 10 s, 20 s, at most 5 minutes.
SECONDS_TO_START = 330


def kill_process_of(pod: client.V1Pod, module: str) -> None:
    """Send SIGKILL to the pod's process that runs this Python module, as a node does that is out of memory."""
    signal_process_of(pod, module, signal.SIGKILL)


def signal_process_of(pod: client.V1Pod, module: str, number: signal.Signals) -> None:
    """Send a signal to the pod's process that runs this Python module, which may be between two containers."""
    # Between two containers too, one process keeps the pod's namespaces.
    if not processes_of(pod):
        pytest.skip(f"the processes of pod {pod.metadata.name} are not this machine's")
    deadline = time.monotonic() + SECONDS_TO_START
    while not (pids := [pid for pid, command in processes_of(pod).items() if module in command]):
        assert time.monotonic() < deadline, f"pod {pod.metadata.name} runs no {module}"
        time.sleep(SECONDS_BETWEEN_LOOKS)
    for pid in pids:
        # With the first process of a container the others end.
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def processes_of(pod: client.V1Pod) -> dict[int, list[str]]:
    """Return the numbers and command lines of a pod's processes."""
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_text().split("\0")
            groups = (process / "cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        # systemd's names of control groups have underscores for hyphens.
        if pod.metadata.uid in groups.replace("_", "-"):
            found[int(process.name)] = command
    return found
