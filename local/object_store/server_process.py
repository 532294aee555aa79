"""A server of a test or of the demo: a program on a port of this machine, which ends with its context."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cluster.faults import ClusterError

_START_SECONDS = 60
#: Below those that the kernel gives to clients, so that nobody's connection takes one before its server has begun.
_PORTS = range(20_000, 30_000)
#: Each keeps a port for this process as long as it lives.
_marks: list[socket.socket] = []


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on, and that this function gives to no other process meanwhile."""
    for port in random.sample(_PORTS, len(_PORTS)):
        mark = socket.socket(socket.AF_UNIX)
        try:
            # A name without a file: the kernel forgets it with the process.
            mark.bind(f"\0whisper-finetune-port-{port}")
            with socket.socket() as probe:
                probe.bind((host, port))
        except OSError:
            mark.close()
        else:
            _marks.append(mark)
            return port
    raise ClusterError("no port between 20000 and 30000 is free")


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], host: str, port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run the program as long as the context lasts. It answers on its port when the context begins."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=said, stderr=said)
        try:
            _wait_for(process, host, port, log)
            yield
        finally:
            process.terminate()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        if process.poll() is not None:
            raise ClusterError(f"the server has ended: {log.read_text(errors='replace')}")
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise ClusterError(f"the server does not answer: {log.read_text(errors='replace')}") from None
            time.sleep(0.05)
        else:
            return
