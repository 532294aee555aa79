"""A fresh control plane for each contender, and how much processor and memory its processes use."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.clusters.compiled_cluster import CompiledCluster
from cluster.folders import ClusterFolders
from cluster.host.processes import processes_where

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGES_PER_MEBIBYTE = 2**20 // os.sysconf("SC_PAGESIZE")
#: Fields of the first line of /proc/stat: time at rest, and time that waits for a disk.
_IDLE = (3, 4)
_SECONDS_OF_A_LOOK = 2.0
#: A machine that uses fewer cores is at rest. Other work at the same time would count as a burst's.
_QUIET_CORES = 0.4


@dataclass(frozen=True)
class ControlPlane:
    """A control plane that is up: its admin's kubeconfig, and the process of its API server."""

    kubeconfig: Path
    api_server: int


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """Start a compiled control plane without a node. At the end of the context, remove it with all its files."""
    cluster = CompiledCluster(ClusterFolders(f"bench-{os.getpid()}"))
    try:
        cluster.up(with_node=False)
        yield ControlPlane(cluster.kubeconfig(), _api_server_of(cluster))
    finally:
        cluster.down(purge=True)


def _api_server_of(cluster: CompiledCluster) -> int:
    keys = f"--tls-cert-file={cluster.folders.state}/keys/apiserver.crt"
    (found,) = processes_where(lambda command: keys in command)
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def resident_mebibytes(pid: int) -> float:
    """Return the resident memory of a process, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) / _PAGES_PER_MEBIBYTE


def busy_seconds() -> float:
    """Return the time that all processors of the machine were busy so far, in seconds, for any process."""
    line = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
    ticks = [int(field) for field in line.split()[1:9]]
    return (sum(ticks) - sum(ticks[index] for index in _IDLE)) / _TICKS_PER_SECOND


def wait_for_rest(seconds: float) -> None:
    """Wait until the machine is at rest, at most for so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = busy_seconds()
        time.sleep(_SECONDS_OF_A_LOOK)
        if busy_seconds() - before < _QUIET_CORES * _SECONDS_OF_A_LOOK:
            return
