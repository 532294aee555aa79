"""Figures that are counted whenever Prometheus asks: runs in one pass over the cache, and partitions."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from whisper_finetune_operator.kubernetes_objects import parse_time
from whisper_finetune_operator.next_steps import FINAL_STATES, RUNNING_STATES
from whisper_finetune_operator.observability.metric_table import BY_NAME, NO_RUNTIME, known_reason
from whisper_finetune_operator.partitions.pools import PARTITION_USES, PartitionUse
from whisper_finetune_operator.runs import Run

_WITH_A_POD = (*RUNNING_STATES, "Unknown")
#: Namespace and runtime.
_Team = tuple[str, str]


class RunFigures(Collector):
    """How many runs there are of each kind, and the ages of those that wait or are at work."""

    def __init__(self, runs: Callable[[], Iterator[Run]]) -> None:
        self._runs = runs

    def collect(self) -> Iterator[GaugeMetricFamily]:
        counted = _CountedRuns()
        for run in self._runs():
            counted.add(run)
        yield _family("wft_runs", counted.states())
        yield _family("wft_runs_active", counted.active())
        yield _family("wft_accelerators_in_use", counted.accelerators)
        yield _family("wft_waiting_oldest_seconds", _ages(counted.oldest_waiting))
        yield _family("wft_progress_age_seconds", _ages(counted.progress))


class _CountedRuns:
    """Counts thousands of runs at each scrape: what can be said of many at once is left for later."""

    def __init__(self) -> None:
        self._over = Counter[str]()
        #: By namespace, runtime, state and reason, as they are in statuses.
        self._active = Counter[tuple[str, str, str, str | None]]()
        self.accelerators = Counter[_Team]()
        self.oldest_waiting: dict[_Team, datetime] = {}
        self.progress: dict[tuple[str, str], datetime] = {}

    def add(self, run: Run) -> None:
        status = run.status
        state = status.get("state", "New")
        if state in FINAL_STATES:
            self._over[state] += 1
            return
        team = run.namespace, status.get("runtime") or NO_RUNTIME
        self._active[(*team, state, status.get("reason"))] += 1
        if state in _WITH_A_POD:
            self._add_at_work(run, team)
        elif "startTime" not in status and state != "Suspended":
            oldest = self.oldest_waiting.get(team)
            self.oldest_waiting[team] = min(oldest, run.created) if oldest else run.created

    def _add_at_work(self, run: Run, team: _Team) -> None:
        self.accelerators[team] += run.status.get("ipus") or 1
        if told := run.status.get("progress", {}).get("updateTime"):
            self.progress[run.namespace, run.name] = parse_time(told)

    def states(self) -> Mapping[tuple[str], int]:
        states = Counter({(state,): count for state, count in self._over.items()})
        for (_, _, state, _), count in self._active.items():
            states[(state,)] += count
        return states

    def active(self) -> Mapping[tuple[str, str, str, str], int]:
        active = Counter[tuple[str, str, str, str]]()
        for (namespace, runtime, state, reason), count in self._active.items():
            active[namespace, runtime, state, known_reason(reason)] += count
        return active


def _ages(since: Mapping[tuple[str, str], datetime]) -> Mapping[tuple[str, str], float]:
    now = datetime.now(UTC)
    return {key: max(0.0, (now - each).total_seconds()) for key, each in since.items()}


class PartitionFigures(Collector):
    """The partitions of all pools by their use, and what keeps those that nobody has."""

    def __init__(
        self, uses: Callable[[], Iterable[tuple[int, PartitionUse]]], kept: Callable[[], Mapping[str, str]]
    ) -> None:
        """Take what yields each partition's IPUs and use, and what returns by the Lease's name what keeps it."""
        self._uses = uses
        self._kept = kept

    def collect(self) -> Iterator[GaugeMetricFamily]:
        counted = Counter(self._uses())
        sizes = sorted({ipus for ipus, _ in counted})
        uses = PARTITION_USES if sizes else ()
        yield _family("wft_partitions", {(str(ipus), use): counted[ipus, use] for ipus in sizes for use in uses})
        yield _family("wft_partition_ipus", {(use,): sum(ipus * counted[ipus, use] for ipus in sizes) for use in uses})
        yield _family("wft_partition_kept", dict.fromkeys(self._kept().items(), 1))


def _family(name: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    row = BY_NAME[name]
    family = GaugeMetricFamily(row.name, row.help, labels=row.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family
