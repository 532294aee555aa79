"""The programs of the cluster, and how the first process inside supervises them."""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS_BEFORE_A_NEW_START = 1


@dataclass(frozen=True)
class Component:
    """A program that runs as long as the cluster does."""

    name: str
    command: Sequence[str]

    def start(self, logs: Path) -> subprocess.Popen[bytes]:
        with (logs / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )


def keep_running(components: Sequence[Component], logs: Path) -> None:
    """Start each component, and start it anew a second after it has ended, for as long as this process lives."""
    by_pid = {component.start(logs).pid: component for component in components}
    while True:
        pid, _ = os.wait()
        ended = by_pid.pop(pid, None)
        if ended is not None:
            time.sleep(SECONDS_BEFORE_A_NEW_START)
            by_pid[ended.start(logs).pid] = ended


def wait_for_first_end(running: dict[int, str]) -> str:
    """Wait until a component ends. Return its name and exit status. Orphans of containers are reaped meanwhile.

    `running` has the component's name for each process id.
    """
    while True:
        pid, status = os.wait()
        if pid in running:
            return f"{running[pid]} ended with status {os.waitstatus_to_exitcode(status)}"
