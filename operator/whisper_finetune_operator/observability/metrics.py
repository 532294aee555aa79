"""What Prometheus can read of the operator."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from whisper_finetune_api.contract import CONTRACT
from whisper_finetune_api.v1alpha1 import Attempts, WhisperFineTuneStatus
from whisper_finetune_operator import VERSION
from whisper_finetune_operator.kubernetes_objects import parse_time
from whisper_finetune_operator.next_steps import condition_of
from whisper_finetune_operator.observability.metric_table import (
    ATTEMPT_OUTCOMES,
    BY_NAME,
    NO_RUNTIME,
    AttemptOutcome,
    known_reason,
)
from whisper_finetune_operator.runs import Run

#: From the 0.1 s of a quick start to the day of a long training.
_LIFE_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 10800, 36000, 86400)
_Metric = TypeVar("_Metric", bound=MetricWrapperBase)
#: Namespace and runtime.
_Team = tuple[str, str]


class Metrics:
    """All metrics of one operator, in a registry of its own."""

    def __init__(self) -> None:
        # When a counter began is a series of its own beside each, and nobody asks.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.reconciles = self._add(Counter, "wft_reconciles_total")
        self.reconcile_seconds = self._add(Histogram, "wft_reconcile_seconds")
        self.api_requests = self._add(Counter, "wft_api_requests_total")
        self.job_seconds, self.running_seconds, self.finished_seconds = (
            self._add(Histogram, f"wft_creation_to_{end}_seconds", buckets=_LIFE_SECONDS)
            for end in ("job", "running", "finished")
        )
        self.ended = self._add(Counter, "wft_runs_ended_total")
        self.judged = self._add(Counter, "wft_runs_judged_total")
        self.attempts_started = self._add(Counter, "wft_attempts_started_total")
        self.attempts_ended = self._add(Counter, "wft_attempts_ended_total")
        self.accelerator_seconds = self._add(Counter, "wft_accelerator_seconds_total")
        self.accelerator_waits = self._add(Counter, "wft_accelerator_wait_seconds_total")
        self.progress_refused = self._add(Counter, "wft_progress_refused_total")
        self.events_dropped = self._add(Counter, "wft_events_dropped_total")
        self.leader = self._add(Gauge, "wft_leader")
        self._add(Gauge, "wft_build_info").labels(VERSION, CONTRACT).set(1)
        #: Whose counters show zeros.
        self._shown: set[_Team] = set()

    def watch(self, name: str, value: Callable[[], float]) -> None:
        """Add a figure that is read whenever Prometheus asks."""
        self._add(Gauge, name).set_function(value)

    def add_collector(self, collector: Collector) -> None:
        """Add figures that are counted whenever Prometheus asks."""
        self.registry.register(collector)

    def job_created(self, run: Run) -> None:
        """Note a run's Job. Only its first one counts from the creation."""
        if not run.status.get("attempts"):
            self.job_seconds.observe(_age_seconds(run))

    def status_changed(self, run: Run, before: WhisperFineTuneStatus, after: WhisperFineTuneStatus) -> None:
        """Note what is new in a status that this replica has just written.

        The API server takes a change from one replica alone, because each names the version that it is based on. So no
        end is counted twice, whoever leads.
        """
        team = run.namespace, after.runtime or NO_RUNTIME
        if team not in self._shown:
            self._show_zeros(*team)
        self._note_attempts(team, before, after)
        if after.start_time and not before.start_time:
            self.running_seconds.observe(_age_seconds(run))
            waited = (parse_time(after.start_time) - run.created).total_seconds()
            self.accelerator_waits.labels(*team).inc(max(0.0, waited) * _accelerators(after))
        if after.completion_time and not before.completion_time:
            self._note_end(run, team, after)

    def _note_attempts(self, team: _Team, before: WhisperFineTuneStatus, after: WhisperFineTuneStatus) -> None:
        ends = _ends_of_attempts(before, after)
        # Most statuses count none of them, and to look a counter up is not free.
        for outcome, count in ends.items():
            if count:
                self.attempts_ended.labels(*team, outcome).inc(count)
        if started := _grown(before, after, "started"):
            self.attempts_started.labels(*team).inc(started)
        if (seconds := (after.running_seconds or 0) - (before.running_seconds or 0)) > 0:
            worst = next((outcome for outcome in reversed(ATTEMPT_OUTCOMES) if ends[outcome]), "failed")
            self.accelerator_seconds.labels(*team, worst).inc(seconds * _accelerators(after))

    def _note_end(self, run: Run, team: _Team, after: WhisperFineTuneStatus) -> None:
        self.finished_seconds.observe(_age_seconds(run))
        self.ended.labels(*team, after.state or "", known_reason(after.reason)).inc()
        accepted = condition_of(after.conditions, "Accepted")
        if accepted:
            self.judged.labels(accepted.status.lower()).inc()

    def _show_zeros(self, namespace: str, runtime: str) -> None:
        """Show the counters of a namespace and runtime before they count: Prometheus sees no rise from nothing to 1."""
        self._shown.add((namespace, runtime))
        self.attempts_started.labels(namespace, runtime)
        self.accelerator_waits.labels(namespace, runtime)
        self.ended.labels(namespace, runtime, "Succeeded", "")
        for outcome in ATTEMPT_OUTCOMES:
            self.attempts_ended.labels(namespace, runtime, outcome)
            self.accelerator_seconds.labels(namespace, runtime, outcome)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _add(self, kind: type[_Metric], name: str, **options: Any) -> _Metric:
        row = BY_NAME[name]
        return kind(row.name.removesuffix("_total"), row.help, row.labels, registry=self.registry, **options)


def _ends_of_attempts(before: WhisperFineTuneStatus, after: WhisperFineTuneStatus) -> Mapping[AttemptOutcome, int]:
    """Return how many attempts ended in which way, of those that a status counts and the one before it does not."""
    interrupted = _grown(before, after, "interrupted")
    in_vain = min(interrupted, _grown(before, after, "interrupted_in_vain"))
    return {
        "succeeded": int(after.state == "Succeeded" and not before.completion_time),
        "interrupted": interrupted - in_vain,
        "in_vain": in_vain,
        "failed": _grown(before, after, "failed"),
    }


def _grown(before: WhisperFineTuneStatus, after: WhisperFineTuneStatus, field: str) -> int:
    old, new = (getattr(status.attempts or Attempts(), field) for status in (before, after))
    return max(0, int(new - old))


def _accelerators(status: WhisperFineTuneStatus) -> int:
    return status.ipus or 1


def _age_seconds(run: Run) -> float:
    return max(0.0, (datetime.now(UTC) - run.created).total_seconds())
