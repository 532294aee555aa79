"""The programs of the cluster, and how the first process inside supervises them."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


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


def wait_for_first_end(running: dict[int, str]) -> str:
    """Wait until a component ends. Return its name and exit status. Orphans of containers are reaped meanwhile.

    `running` has the component's name for each process id.
    """
    while True:
        pid, status = os.wait()
        if pid in running:
            return f"{running[pid]} ended with status {os.waitstatus_to_exitcode(status)}"
