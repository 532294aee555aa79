"""The namespaces of a cluster. They belong to one `unshare` process, and everything ends with it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster.faults import ClusterError
from cluster.folders import SOURCE
from cluster.host.processes import end_processes, processes_where

INSIDE = SOURCE / "components" / "inside.py"
NAMESPACES = ("--net", "--mount", "--pid", "--ipc", "--uts")


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
        """The prefix of a command that sees what the cluster's own programs see, and ends with them."""
        return [*self.enter_network, f"--mount=/proc/{self.pid}/ns/mnt", f"--pid=/proc/{self.pid}/ns/pid_for_children"]


def start_isolated(plan_file: Path, log: Path) -> subprocess.Popen[str]:
    """Start inside.py in its namespaces. Return once they exist: inside.py then waits for `let_go`."""
    unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*unshare, sys.executable, str(INSIDE), str(plan_file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE.parent)},
        )  # fmt: skip
    if process.stdout is None or not process.stdout.readline():
        process.wait()
        raise ClusterError(f"cannot make the cluster's namespaces: see the end of {log}")
    return process


def let_go(process: subprocess.Popen[str]) -> None:
    """Tell inside.py that its network exists, so that it goes on."""
    if process.stdin:
        process.stdin.write("the network is made\n")
        process.stdin.close()


def belongs_to(command: list[str], plan_file: Path) -> bool:
    """Return whether a command is the `unshare` process of that plan, or the first process in its PID namespace.

    Any checkout may have started it, because all checkouts of a user share the clusters.
    """
    return [Path(argument).name for argument in command[-2:-1]] == [INSIDE.name] and command[-1] == str(plan_file)


def find_isolation(plan_file: Path) -> Isolation | None:
    found = processes_where(lambda command: belongs_to(command, plan_file) and command[0] == "unshare")
    return Isolation(found[0]) if found else None


def end_isolated(plan_file: Path) -> None:
    end_processes(lambda command: belongs_to(command, plan_file))
