"""Every metric of the operator in one table, from which the code, docs/metrics.md and the dashboard's tests take it.

No label has a value that a user makes up, so the number of series is bounded by namespaces, runtimes and the table of
causes. The two exceptions are bounded by what the cluster can run at a time: runs with a pod at work, and partitions.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from whisper_finetune_api.causes import Reason
from whisper_finetune_api.v1alpha1.status import State
from whisper_finetune_operator.next_steps import ENDING, NOT_ACCEPTED, RETRYING, SUSPENDING

MetricKind = Literal["counter", "gauge", "histogram"]
#: How an attempt ended. `in_vain`: stopped from outside before it got further than the attempt before it.
AttemptOutcome = Literal["succeeded", "interrupted", "in_vain", "failed"]
ATTEMPT_OUTCOMES: tuple[AttemptOutcome, ...] = get_args(AttemptOutcome)
#: The runtime of a run that has none yet. What a user wrote into the spec is no label: nobody bounds it.
NO_RUNTIME = "none"
#: A reason that is not in this version's tables: another version of the operator wrote it.
OTHER_REASON = "Other"
_REASONS = frozenset((*get_args(Reason), *get_args(State), RETRYING, ENDING, SUSPENDING, NOT_ACCEPTED))
_TEAM = ("namespace", "runtime")


@dataclass(frozen=True)
class MetricRow:
    """One metric, under the name that Prometheus shows. Of a histogram that is the name before `_bucket`."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Return what it counts in, by its name."""
        return "seconds" if self.name.removesuffix("_total").endswith("_seconds") else ""


METRICS = (
    MetricRow("wft_runs", "gauge", "Runs in each state.", ("state",)),
    MetricRow(
        "wft_runs_active",
        "gauge",
        "Runs that are not over, with the reason that their column REASON shows.",
        (*_TEAM, "state", "reason"),
    ),
    MetricRow(
        "wft_runs_ended_total",
        "counter",
        "Runs that ended while this process led, by result and reason.",
        (*_TEAM, "result", "reason"),
    ),
    MetricRow("wft_runs_judged_total", "counter", "Ended runs with spec.acceptance.", ("accepted",)),
    MetricRow(
        "wft_waiting_oldest_seconds",
        "gauge",
        "Age of the oldest run that has had no trainer yet.",
        _TEAM,
    ),
    MetricRow("wft_creation_to_job_seconds", "histogram", "From a run's creation to its first Job."),
    MetricRow("wft_creation_to_running_seconds", "histogram", "From a run's creation to its first running pod."),
    MetricRow("wft_creation_to_finished_seconds", "histogram", "From a run's creation to its end."),
    MetricRow(
        "wft_progress_age_seconds",
        "gauge",
        "Since the progress of a run with a pod at work last changed, to five minutes.",
        ("namespace", "name"),
    ),
    MetricRow("wft_attempts_started_total", "counter", "Pods of runs that were seen.", _TEAM),
    MetricRow("wft_attempts_ended_total", "counter", "Pods of runs that ended, by outcome.", (*_TEAM, "outcome")),
    MetricRow(
        "wft_accelerators_in_use",
        "gauge",
        "IPUs of runs with a pod at work. A run on a GPU or on CPUs counts as one.",
        _TEAM,
    ),
    MetricRow(
        "wft_accelerator_seconds_total",
        "counter",
        "Seconds of attempts that ended, times their accelerators. What failed or was in vain is wasted.",
        (*_TEAM, "outcome"),
    ),
    MetricRow(
        "wft_accelerator_wait_seconds_total",
        "counter",
        "From the creation of runs to their first trainer, times the accelerators that they waited for.",
        _TEAM,
    ),
    MetricRow("wft_partitions", "gauge", "Partitions of all pools, by their IPUs and use.", ("ipus", "use")),
    MetricRow("wft_partition_ipus", "gauge", "IPUs of all partitions of all pools, by use.", ("use",)),
    MetricRow(
        "wft_partition_kept",
        "gauge",
        "1 for a partition that nobody has and that something keeps from being taken.",
        ("lease", "by"),
    ),
    MetricRow("wft_queue_depth", "gauge", "Runs that wait to be reconciled."),
    MetricRow("wft_queue_oldest_seconds", "gauge", "How long the oldest pass has waited or has taken."),
    MetricRow("wft_reconciles_total", "counter", "Passes over a run, by outcome.", ("outcome",)),
    MetricRow("wft_reconcile_seconds", "histogram", "Time of one pass over a run."),
    MetricRow("wft_api_requests_total", "counter", "Requests to the API server.", ("verb", "resource", "code")),
    MetricRow("wft_watch_silence_seconds", "gauge", "Since a watch gave a sign of life."),
    MetricRow("wft_events_dropped_total", "counter", "Kubernetes Events that were not posted."),
    MetricRow("wft_progress_refused_total", "counter", "Answers of trainers that were dropped, by cause.", ("cause",)),
    MetricRow("wft_runs_of_others", "gauge", "Runs left alone: another installation follows them."),
    MetricRow(
        "wft_runtimes_file_valid",
        "gauge",
        "1 where the runtimes file is in use as it is, 0 where an earlier one is, because it is refused.",
    ),
    MetricRow("wft_leader", "gauge", "1 where this replica is the one that acts."),
    MetricRow("wft_build_info", "gauge", "1, with the operator's version and contract.", ("version", "contract")),
)
BY_NAME = {row.name: row for row in METRICS}

#: What each label says, and what bounds the number of its values.
LABELS = {
    "namespace": "The run's namespace.",
    "runtime": f"The admin's name of the runtime that the run was given, or `{NO_RUNTIME}` before it has one.",
    "state": "`status.state`; `New` before there is one.",
    "reason": f"`status.reason`, one of the causes in [api.md](api.md#causes); empty where all is well, and "
    f"`{OTHER_REASON}` where another version wrote one that this version does not know.",
    "result": "`Succeeded` or `Failed`.",
    "accepted": "`true` or `false`.",
    "name": "The run's name. There are as many as runs have pods at work.",
    "outcome": "Of an attempt `succeeded`, `interrupted` (stopped from outside), `in_vain` (the same, before it got "
    "any further) or `failed`. Of a pass `done`, the error that it ended with, or `fault`.",
    "ipus": "The partition's IPUs.",
    "use": "`free`; `held` by a run with a Job or a pod; `idle`, of a run that has neither; `reserved` by a Lease that "
    "is no run's; `kept` by what `wft_partition_kept` names.",
    "lease": "Name of the partition's Lease.",
    "by": "What keeps the partition, in words.",
    "verb": "`get`, `list`, `create`, `update`, `patch`, `delete` and so on.",
    "resource": "The plural of the kind.",
    "code": "The HTTP status.",
    "cause": "Why an answer was dropped.",
    "version": "The operator's version.",
    "contract": "Number of the contract between operator and trainer: see [upgrades.md](upgrades.md).",
}


def known_reason(reason: str | None) -> str:
    """Return a status's reason as a label's value. Empty: there is none."""
    if not reason:
        return ""
    return reason if reason in _REASONS else OTHER_REASON
