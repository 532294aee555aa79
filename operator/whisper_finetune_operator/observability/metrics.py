"""What Prometheus can read of the operator."""

import collections
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.kubernetes_objects import parse_time
from whisper_finetune_operator.next_steps import RUNNING_STATES, condition_of
from whisper_finetune_operator.runs import Run

#: From the 0.1 s of a quick start to the day of a long training.
_LIFE_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 10800, 36000, 86400)


class Metrics:
    """All metrics of one operator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.reconciles = Counter("wft_reconciles", "Passes over a run, by outcome.", ["outcome"], registry=registry)
        self.reconcile_seconds = Histogram("wft_reconcile_seconds", "Time of one pass over a run.", registry=registry)
        self.api_requests = Counter(
            "wft_api_requests", "Requests to the API server.", ["verb", "resource", "code"], registry=registry
        )
        self.job_seconds = self._life("job", "its first Job")
        self.running_seconds = self._life("running", "its first running pod")
        self.finished_seconds = self._life("finished", "its end")
        self.judged = Counter("wft_runs_judged", "Ended runs with spec.acceptance.", ["accepted"], registry=registry)
        self.progress_refused = Counter(
            "wft_progress_refused", "Answers of trainers that were dropped, by cause.", ["cause"], registry=registry
        )
        self.events_dropped = Counter(
            "wft_events_dropped", "Kubernetes Events that were not posted.", registry=registry
        )
        self.leader = Gauge("wft_leader", "1 where this replica is the one that acts.", registry=registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a figure that is read whenever Prometheus asks."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def watch_runs(self, runs: Callable[[], Iterator[Run]]) -> None:
        """Add the number of runs in each state, and how old the progress of those at work is."""
        self.registry.register(_RunsByState(runs))
        self.registry.register(_ProgressAges(runs))

    def watch_kept_partitions(self, kept: Callable[[], Mapping[str, str]]) -> None:
        """Add the partitions that nobody has and that cannot be taken all the same, with what keeps them."""
        self.registry.register(_KeptPartitions(kept))

    def job_created(self, run: Run) -> None:
        """Note a run's Job. Only its first one counts from the creation."""
        if not run.status.get("attempts"):
            self.job_seconds.observe(_age_seconds(run))

    def status_changed(self, run: Run, before: WhisperFineTuneStatus, after: WhisperFineTuneStatus) -> None:
        """Note that a run has begun to run, or is over, and whether its model is accepted."""
        if after.start_time and not before.start_time:
            self.running_seconds.observe(_age_seconds(run))
        if after.completion_time and not before.completion_time:
            self.finished_seconds.observe(_age_seconds(run))
            accepted = condition_of(after.conditions, "Accepted")
            if accepted:
                self.judged.labels(accepted.status.lower()).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _life(self, name: str, text: str) -> Histogram:
        return Histogram(
            f"wft_creation_to_{name}_seconds",
            f"From a run's creation to {text}.",
            buckets=_LIFE_SECONDS,
            registry=self.registry,
        )


def _age_seconds(run: Run) -> float:
    return max(0.0, (datetime.now(UTC) - run.created).total_seconds())


class _RunsByState(Collector):
    def __init__(self, runs: Callable[[], Iterator[Run]]) -> None:
        self._runs = runs

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states = collections.Counter(run.status.get("state", "New") for run in self._runs())
        family = GaugeMetricFamily("wft_runs", "Runs in each state.", labels=["state"])
        for state, count in sorted(states.items()):
            family.add_metric([state], count)
        yield family


class _ProgressAges(Collector):
    """Ages of the progress of runs with a pod at work. Their number is bounded by the pods of the cluster."""

    def __init__(self, runs: Callable[[], Iterator[Run]]) -> None:
        self._runs = runs

    def collect(self) -> Iterator[GaugeMetricFamily]:
        text = "Since the progress of a run with a pod at work last changed, to five minutes."
        family = GaugeMetricFamily("wft_progress_age_seconds", text, labels=["namespace", "name"])
        now = datetime.now(UTC)
        for run in self._runs():
            told = run.status.get("progress", {}).get("updateTime")
            if told and run.status.get("state") in (*RUNNING_STATES, "Unknown"):
                family.add_metric([run.namespace, run.name], (now - parse_time(told)).total_seconds())
        yield family


class _KeptPartitions(Collector):
    def __init__(self, kept: Callable[[], Mapping[str, str]]) -> None:
        self._kept = kept

    def collect(self) -> Iterator[GaugeMetricFamily]:
        text = "1 for a partition that nobody has and that something keeps from being taken."
        family = GaugeMetricFamily("wft_partition_kept", text, labels=["lease", "by"])
        for lease, by in sorted(self._kept().items()):
            family.add_metric([lease, by], 1)
        yield family
