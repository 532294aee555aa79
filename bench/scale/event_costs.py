"""What one event costs the operator's processor, by how many runs there are.

The operator is the real one, in a process of its own. The API server is a double, because tens of thousands of objects
are there in seconds, and because no scheduler and no other client disturbs what is counted.
"""

import asyncio
import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from scale.operator_process import OperatorProcess, run_operator
from scale.players import Players
from scale.situations import RUNTIMES, Event, Situation

from api_server_double.server import RUNS, ApiServerDouble
from api_server_double.stored_objects import StoredObjects

_SECONDS_TO_FILL = 1800
_SECONDS_TO_TELL = 120
_LOOKED_EVERY_SECONDS = 0.2
_NEVER_QUIET_SECONDS = 15
#: So often it is waited for a rest. Where thousands are refused, some run is always tried again.
_TRIES = 12
_SHARE_AT_REST = 0.04
_ENVIRONMENT = {
    # A turn begins as soon as the double lets it, and at no other time.
    "OPERATOR_RESYNC_SECONDS": "1",
    "OPERATOR_REQUEST_TIMEOUT_SECONDS": "3600",
    # More than the default, so that no figure is one of a wait.
    "OPERATOR_REQUESTS_PER_SECOND": "2000",
}


@dataclass(frozen=True)
class Effort:
    """How many events of each kind and scrapes of the metrics, and for how long it is waited."""

    events: int
    #: Events in a second.
    per_second: float
    rest_seconds: float
    #: So long after the last request the work on an event is over.
    quiet_seconds: float
    scrapes: int


@dataclass(frozen=True)
class Cost:
    """One figure of one situation, with so many runs."""

    situation: str
    runs: int
    title: str
    value: float
    #: Per event. None where the figure is of no event.
    requests: float | None = None


async def measure_situation(situation: Situation, runs: int, effort: Effort) -> list[Cost]:
    """Make the situation, start the operator anew in it, and return what it then costs."""
    with tempfile.TemporaryDirectory() as folder:
        measuring = Measuring(situation, runs, effort, Path(folder))
        async with measuring.server.serve():
            await measuring.fill()
            return await measuring.measure()


class Measuring:
    """One situation with so many runs."""

    def __init__(self, situation: Situation, runs: int, effort: Effort, folder: Path) -> None:
        objects = StoredObjects()
        self.players = Players(objects, situation)
        self.server = ApiServerDouble(objects, self.players.see_write)
        self._situation = situation
        self._runs = runs
        self._effort = effort
        self._folder = folder
        self._kubeconfig = folder / "kubeconfig"
        self._kubeconfig.write_text(json.dumps(_kubeconfig(self.server.address)), encoding="utf-8")
        self._costs: list[Cost] = []
        #: Seconds of the processor in a second at rest.
        self._rest = 0.0

    async def fill(self) -> None:
        """Let the operator itself bring all runs to where they are to be."""
        situation = self._situation
        async with run_operator(self._folder, self._kubeconfig, RUNTIMES, **_ENVIRONMENT) as operator:
            await operator.until_ready()
            for _ in range(self._runs + situation.at_work):
                self.players.create_run()
            self.server.show()
            wanted = {situation.reason: self._runs, **({"Preparing": situation.at_work} if situation.at_work else {})}
            await self._until_reasons(wanted, operator)
            await self._until_done(operator)
        self.server.objects.forget_changes()
        self.server.hold_resyncs()
        self.players.job = situation.later_job

    async def measure(self) -> list[Cost]:
        """Return every figure, in the order of the table."""
        writes = self.server.writes()
        async with run_operator(self._folder, self._kubeconfig, RUNTIMES, **_ENVIRONMENT) as operator:
            await operator.until_figure('wft_reconciles_total{outcome="done"}', self._runs)
            self._note("start: s until all are reconciled", time.monotonic() - operator.begun_at)
            await self._until_done(operator)
            self._note("start: CPU s", operator.cpu_seconds())
            self._note("start: writes", self.server.writes() - writes)
            self._note("resident MiB", operator.resident_mebibytes())
            await self._measure_rest(operator)
            for title, event in self._situation.events.items():
                await self._measure_events(operator, title, event)
            await self._measure_scrapes(operator)
            await self._measure_resync(operator)
        return self._costs

    async def _measure_rest(self, operator: OperatorProcess) -> None:
        before = operator.cpu_seconds()
        await asyncio.sleep(self._effort.rest_seconds)
        self._rest = (operator.cpu_seconds() - before) / self._effort.rest_seconds
        self._note("at rest: CPU ms a second", 1000 * self._rest)

    async def _measure_events(self, operator: OperatorProcess, title: str, event: Event) -> None:
        before, requests, begun = operator.cpu_seconds(), self.server.requests.total(), time.monotonic()
        for number in range(self._effort.events):
            await asyncio.sleep(begun + number / self._effort.per_second - time.monotonic())
            while not getattr(self.players, event)():  # noqa: ASYNC110 (a pod may have to begin first)
                await asyncio.sleep(0.01)
            self.server.show()
        await self._until_told(operator)
        await self._until_done(operator)
        used = operator.cpu_seconds() - before - self._rest * (time.monotonic() - begun)
        asked = self.server.requests.total() - requests
        self._note(title, 1000 * used / self._effort.events, asked / self._effort.events)

    async def _measure_scrapes(self, operator: OperatorProcess) -> None:
        used = 0.0
        for _ in range(self._effort.scrapes):
            before = operator.cpu_seconds()
            await operator.ask("/metrics")
            used += operator.cpu_seconds() - before
            # The operator computes its figures for a twentieth of the time at most.
            await asyncio.sleep(1)
        self._note("a scrape of the metrics: CPU ms", 1000 * used / self._effort.scrapes)

    async def _measure_resync(self, operator: OperatorProcess) -> None:
        before, requests = operator.cpu_seconds(), self.server.requests.total()
        self.server.let_resync()
        await self._until_done(operator)
        used = operator.cpu_seconds() - before
        asked = self.server.requests.total() - requests
        self._note("a turn of the resync: CPU ms a run", 1000 * used / self._runs, asked)

    async def _until_done(self, operator: OperatorProcess) -> None:
        """Wait until no run waits to be reconciled, nothing is asked of the server, and the operator is at rest."""
        for _ in range(_TRIES):
            before, begun = operator.cpu_seconds(), time.monotonic()
            await self.server.quiet(self._effort.quiet_seconds, at_most_seconds=_NEVER_QUIET_SECONDS)
            used = (operator.cpu_seconds() - before) / (time.monotonic() - begun)
            if used < _SHARE_AT_REST and not (await operator.figures())["wft_queue_depth"]:
                return

    async def _until_reasons(self, wanted: dict[str, int], operator: OperatorProcess) -> None:
        deadline = time.monotonic() + _SECONDS_TO_FILL
        while (reasons := self._reasons()) != wanted:
            if time.monotonic() > deadline or operator.process.poll() is not None:
                raise SystemExit(f"{reasons} instead of {wanted}:\n{operator.last_words()}")
            await asyncio.sleep(_LOOKED_EVERY_SECONDS)

    async def _until_told(self, operator: OperatorProcess) -> None:
        """Wait until each status says what has become of its run.

        Why a pod is refused may be read half a minute late.
        """
        deadline = time.monotonic() + _SECONDS_TO_TELL
        while {"", "Pending"} & self._reasons().keys():
            if time.monotonic() > deadline:
                raise SystemExit(f"{self._reasons()}:\n{operator.last_words()}")
            await asyncio.sleep(_LOOKED_EVERY_SECONDS)

    def _reasons(self) -> dict[str, int]:
        runs = self.server.objects.collection(RUNS).objects.values()
        # The name of a state stands for nothing special, and is no reason.
        return dict(Counter(run["status"].get("reason") or run["status"].get("state", "") for run in runs))

    def _note(self, title: str, value: float, requests: float | None = None) -> None:
        self._costs.append(Cost(self._situation.title, self._runs, title, value, requests))


def _kubeconfig(server: str) -> dict[str, object]:
    """Return a kubeconfig without a secret: the double asks nobody who he is."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "double",
        "clusters": [{"name": "double", "cluster": {"server": server}}],
        "users": [{"name": "double", "user": {"token": "none"}}],
        "contexts": [{"name": "double", "context": {"cluster": "double", "user": "double", "namespace": "operators"}}],
    }
