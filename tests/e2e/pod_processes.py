"""A pod's processes as the host sees them: found by the pod's UID in their control group, and killed by number."""

import os
import signal
import time
from pathlib import Path

import pytest
from kubernetes import client

from e2e.waiting import SECONDS_BETWEEN_LOOKS

#: The kubelet waits longer with each start of a container that ends at once: 10 s, 20 s.
SECONDS_TO_START = 60


def kill_process_of(pod: client.V1Pod, module: str) -> None:
    """Send SIGKILL to the pod's process that runs this Python module, as a node does that is out of memory."""
    signal_process_of(pod, module, signal.SIGKILL)


def signal_process_of(pod: client.V1Pod, module: str, number: signal.Signals) -> None:
    """Send a signal to the pod's process that runs this Python module, which may be between two containers."""
    deadline = time.monotonic() + SECONDS_TO_START
    while not (pids := processes_of(pod, module)):
        if time.monotonic() > deadline:
            pytest.skip(f"the processes of pod {pod.metadata.name} are not this machine's")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    for pid in pids:
        os.kill(pid, number)


def processes_of(pod: client.V1Pod, module: str) -> list[int]:
    numbers = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [int(entry.name) for entry in numbers if belongs_to(entry, pod.metadata.uid, module)]


def belongs_to(process: Path, pod_uid: str, module: str) -> bool:
    try:
        command = (process / "cmdline").read_text().split("\0")
        groups = (process / "cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has just ended
    # systemd's names of control groups have underscores for hyphens.
    return module in command and pod_uid in groups.replace("_", "-")
