"""The namespaces that a cluster lives in, held by one `unshare` process whose end ends everything.

No pid is ever written down: a number outlives its process, and inside the PID namespace it names somebody else's. The
cluster's processes are found by their command line, and killed through a pidfd, which cannot come to mean another one.
"""

import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from faults import ClusterError
from folders import SOURCE

INSIDE = SOURCE / "inside.py"
SECONDS_TO_END = 30


@dataclass(frozen=True)
class Isolation:
    """The `unshare` process of one cluster."""

    pid: int

    @property
    def root(self) -> Path:
        """The cluster's root folder as the host sees it, with the mounts that only the cluster has."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def enter_network(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]

    @property
    def enter(self) -> list[str]:
        """The prefix of a command that shall see what the cluster's own programs see, and die with them."""
        return [*self.enter_network, f"--mount=/proc/{self.pid}/ns/mnt", f"--pid=/proc/{self.pid}/ns/pid_for_children"]


def start_isolated(plan_file: Path, log: Path) -> subprocess.Popen[str]:
    """Start inside.py in its namespaces; returns as soon as they exist, and inside.py then waits for a line on stdin."""
    unshare = ["unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*unshare, sys.executable, str(INSIDE), str(plan_file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True, start_new_session=True,
        )  # fmt: skip
    if process.stdout is None or not process.stdout.readline():
        process.wait()
        raise ClusterError(f"cannot make the cluster's namespaces: see the end of {log}")
    return process


def let_go(process: subprocess.Popen[str]) -> None:
    """Tell inside.py that its network is there."""
    if process.stdin:
        process.stdin.write("the network is made\n")
        process.stdin.close()


def find_isolation(plan_file: Path) -> Isolation | None:
    for pid in find_processes(plan_file):
        if command_line(pid)[:1] == ["unshare"]:
            return Isolation(pid)
    return None


def find_processes(plan_file: Path) -> list[int]:
    """The `unshare` process of that plan, and the first process inside its PID namespace."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if belongs_to(command_line(pid), plan_file)]


def belongs_to(command: list[str], plan_file: Path) -> bool:
    return command[-2:] == [str(INSIDE), str(plan_file)]


def command_line(pid: int) -> list[str]:
    """The arguments of a process; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def end_isolated(plan_file: Path) -> bool:
    """Kill the cluster's processes and wait until the last one is gone; False where there was none.

    Killed, not asked: the API server takes a minute over a polite end.
    """
    held = [(pid, handle) for pid in find_processes(plan_file) if (handle := open_pidfd(pid)) is not None]
    for pid, handle in held:
        if belongs_to(command_line(pid), plan_file):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    for pid, handle in held:
        wait_for_end(pid, handle)
    return bool(held)


def open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def wait_for_end(pid: int, handle: int) -> None:
    """The first process of a PID namespace ends only when every other one in it has."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if not poll.poll(SECONDS_TO_END * 1000):
        raise ClusterError(f"process {pid} of the cluster does not end though it was killed: look at `ps -o stat,wchan {pid}`")
    os.close(handle)
