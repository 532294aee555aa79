"""Find processes by their command line, and kill them for certain.

No process id is ever written down. An id may outlive its process, and an id of a PID namespace is another process
outside. A process is killed through a pidfd after its command line was read again. So it is never another process with
the same id.
"""

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from cluster.faults import ClusterError

SECONDS_TO_END = 30
Condition = Callable[[list[str]], bool]
"""Whether the arguments of a process are those of one that is meant."""


def processes_where(is_meant: Condition) -> list[int]:
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if is_meant(command_line(pid))]


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process. They are empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def end_processes(is_meant: Condition) -> None:
    """Kill the processes, and wait until they are gone.

    They get SIGKILL, because the API server needs a minute to end after SIGTERM. The first process of a PID namespace
    is gone only when every other process in it is.
    """
    held = {pid: handle for pid in processes_where(is_meant) if (handle := open_pidfd(pid)) is not None}
    for pid, handle in held.items():
        if is_meant(command_line(pid)):
            send_kill(handle)
    for pid, handle in held.items():
        wait_for_end(pid, handle)


def open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def send_kill(handle: int) -> None:
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has just ended by itself, or with its parent


def wait_for_end(pid: int, handle: int) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if not poll.poll(SECONDS_TO_END * 1000):
        raise ClusterError(f"process {pid} was killed and does not end: look at `ps -o stat,wchan {pid}`")
    os.close(handle)
