"""The operator as a process of its own, against a real API server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import yaml

from object_store.server_process import free_port
from repository import ROOT

RUNTIMES = "defaultRuntime: cpu\nruntimes: [{name: cpu, accelerator: cpu, image: 'trainer:none'}]\n"
#: Short, so that a test need not wait; what they are set to is no part of what is tested.
QUICK = {"OPERATOR_PROGRESS_SECONDS": "0.2"}
PATIENCE_SECONDS = 60.0

T = TypeVar("T")


def until(look: Callable[[], T], *, what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Return the first true answer of `look`; AssertionError where there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"not seen in {seconds:g} s: {what}"
        time.sleep(0.05)
    return answer


class OperatorProcess:
    """One replica; its log goes to a file in `folder`."""

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        *arguments: str,
        name: str = "a",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.log = folder / f"operator-{name}.log"
        runtimes = folder / "runtimes.yaml"
        if not runtimes.exists():
            runtimes.write_text(RUNTIMES, encoding="utf-8")
        program = [sys.executable, "-m", "whisper_finetune_operator", "--runtimes", str(runtimes)]
        settings = {
            **os.environ,
            **QUICK,
            "PYTHONPATH": f"{ROOT / 'crds'}:{ROOT / 'operator'}",
            "OPERATOR_HEALTH_PORT": str(self.port),
            "POD_NAME": name,
            **(environment or {}),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*program, "--kubeconfig", str(kubeconfig), *arguments], stdout=log, stderr=log, env=settings
            )

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()

    def errors(self) -> list[str]:
        """Return why it ended. After that Python may warn of a watch that was about to begin at that very moment."""
        return [line for line in self.lines() if line.startswith("error: ")]

    def messages(self) -> list[str]:
        """Return the messages of the log so far."""
        return [json.loads(line)["message"] for line in self.lines() if line.startswith("{")]

    def acts(self) -> bool:
        """Return whether this replica has the turn."""
        return self.figures().get("wft_leader") == 1.0

    def health(self, path: str = "/healthz") -> tuple[int, str]:
        """Return code and text of /healthz or /readyz; code 0 where nobody answers."""
        try:
            return _get(self.port, path)
        except OSError:
            return 0, ""

    def figures(self) -> dict[str, float]:
        """Return every figure of /metrics by its name and labels; empty where nobody answers."""
        try:
            _, text = _get(self.port, "/metrics")
        except OSError:
            return {}
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def metric_kinds(self) -> dict[str, str]:
        """Return the kind of every metric that it has, with samples or without."""
        _, text = _get(self.port, "/metrics")
        shown = (line.split() for line in text.splitlines() if line.startswith("# TYPE "))
        return {name: kind for _, _, name, kind in shown}

    def requests(self) -> dict[tuple[str, str], float]:
        """Return how many requests it sent to the API server, by verb and resource."""
        counted: dict[tuple[str, str], float] = {}
        for name, value in self.figures().items():
            if name.startswith("wft_api_requests_total{"):
                labels = dict(label.split("=") for label in name[name.index("{") + 1 : -1].replace('"', "").split(","))
                key = labels["verb"], labels["resource"]
                counted[key] = counted.get(key, 0) + value
        return counted

    def writes(self) -> dict[tuple[str, str], float]:
        """Return those requests that write something that lasts, but for the replica's own Lease."""
        return {
            (verb, resource): count
            for (verb, resource), count in self.requests().items()
            if verb not in ("get", "list") and resource not in ("leases", "selfsubjectaccessreviews")
        }

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """Tell it to stop, and return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)


class Proxy:
    """A way to the API server that a test can let go silent."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster = config["clusters"][0]["cluster"]
        host, port = cluster["server"].removeprefix("https://").split(":")
        own_port = free_port()
        program = [sys.executable, str(ROOT / "tests" / "operator" / "tcp_proxy.py"), str(own_port), host, port]
        self.process = subprocess.Popen(program)
        self.kubeconfig = folder / "proxied.kubeconfig"
        cluster["server"] = f"https://127.0.0.1:{own_port}"
        self.kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
        until(lambda: _listens(own_port), what="the proxy")

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


#: Starts a replica: arguments of the command line, and `name`, `environment` or `kubeconfig`.
Start = Callable[..., OperatorProcess]


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read().decode()


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
