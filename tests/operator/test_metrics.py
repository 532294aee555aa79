"""What Prometheus reads of runs."""

import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from repository import ROOT
from run_objects import run_object
from run_scenarios import SCENARIOS, tell_once
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator import VERSION
from whisper_finetune_operator.kubernetes_objects import render_time
from whisper_finetune_operator.next_steps import FINAL_STATES
from whisper_finetune_operator.observability.metric_table import LABELS, METRICS
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.observability.scraped_figures import PartitionFigures, RunFigures
from whisper_finetune_operator.partitions.partition_leases import build_lease
from whisper_finetune_operator.partitions.pools import Inventory, PartitionUse, PoolPartition
from whisper_finetune_operator.runs import Run
from whisper_finetune_operator.watching.partition_book import PartitionBook

HOUR_AGO = render_time(datetime.now(UTC) - timedelta(hours=1))


def run(name: str, state: str, update_time: str | None = HOUR_AGO) -> Run:
    status = {"state": state, **({"progress": {"updateTime": update_time}} if update_time else {})}
    made = run_object(status=status)
    return Run.from_object({**made, "metadata": {**made["metadata"], "name": name}})


Labels = frozenset[tuple[str, str]]


def samples_of(metrics: Metrics, name: str) -> dict[Labels, float]:
    """Return the values of one metric by their labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    samples = (sample for family in families for sample in family.samples)
    return {frozenset(sample.labels.items()): sample.value for sample in samples if sample.name == name}


def total(metrics: Metrics, name: str, **labels: str) -> float:
    return sum(value for found, value in samples_of(metrics, name).items() if set(labels.items()) <= found)


def with_status(name: str, **status: Any) -> Run:
    made = run_object({"runtime": "made-up"}, status=status)
    return Run.from_object({**made, "metadata": {**made["metadata"], "name": name}})


def counting(runs: Iterable[Run]) -> Metrics:
    metrics, counted = Metrics(), tuple(runs)
    metrics.add_collector(RunFigures(lambda: iter(counted)))
    return metrics


def told(story: str, *, times: int = 1) -> Metrics:
    """Return what is counted of a story, each of whose statuses is written so many times."""
    metrics, before = Metrics(), WhisperFineTuneStatus()
    for world, decision in tell_once(SCENARIOS[story]):
        for _ in range(times):
            metrics.status_changed(world.run, before, decision.status)
            before = decision.status
    return metrics


def test_the_age_of_progress_is_that_of_runs_at_work_that_told_some() -> None:
    metrics = Metrics()
    runs = (run("at-work", "Training"), run("lost", "Unknown"), run("new", "Preparing", None), run("over", "Succeeded"))
    metrics.add_collector(RunFigures(lambda: iter(runs)))
    families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
    ages = {each.labels["name"]: each.value for each in families["wft_progress_age_seconds"].samples}
    assert set(ages) == {"at-work", "lost"}
    assert all(3600 <= age < 7200 for age in ages.values())


def test_ended_runs_are_counted_by_whether_their_model_is_accepted() -> None:
    metrics = Metrics()
    for story in ("result that is not accepted", "result, with its Job"):
        before = WhisperFineTuneStatus()
        for world, decision in tell_once(SCENARIOS[story]):
            metrics.status_changed(world.run, before, decision.status)
            before = decision.status
    families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
    counted = {
        each.labels["accepted"]: each.value
        for each in families["wft_runs_judged"].samples
        if each.name.endswith("_total")
    }
    assert counted == {"false": 1}


def test_each_label_is_explained() -> None:
    assert {label for row in METRICS for label in row.labels} == set(LABELS)


@pytest.mark.parametrize("story", SCENARIOS)
def test_an_end_is_counted_once_however_often_its_status_is_written(story: str) -> None:
    metrics = told(story, times=2)
    (_, last), *_ = tell_once(SCENARIOS[story])[::-1]
    ended = Counter(
        {
            (labels["result"], labels["reason"]): count
            for found, count in samples_of(metrics, "wft_runs_ended_total").items()
            if (labels := dict(found)) and count
        }
    )
    status = last.status
    assert ended == ({(status.state, status.reason or ""): 1} if status.state in FINAL_STATES else {})


def test_what_counts_no_end_is_shown_as_zero() -> None:
    metrics = told("new")
    team = {"namespace": "speech"}
    assert total(metrics, "wft_runs_ended_total", **team, result="Succeeded", reason="") == 0
    assert len(samples_of(metrics, "wft_attempts_ended_total")) == 4


def test_attempts_and_their_seconds_are_counted_by_how_they_ended() -> None:
    metrics = told("killed for memory twice")
    assert total(metrics, "wft_attempts_ended_total", outcome="failed") == 2
    assert total(metrics, "wft_attempts_ended_total") == 2
    (_, last), *_ = tell_once(SCENARIOS["killed for memory twice"])[::-1]
    assert last.status.running_seconds
    assert total(metrics, "wft_accelerator_seconds_total", outcome="failed") == last.status.running_seconds
    assert total(metrics, "wft_accelerator_seconds_total") == last.status.running_seconds


def test_seconds_count_for_each_ipu() -> None:
    metrics, before = Metrics(), WhisperFineTuneStatus(runtime="pod16", ipus=8, state="Training")
    after = before.model_copy(
        update={"running_seconds": 60, "state": "Succeeded", "completion_time": "2026-11-22T11:00:00Z"}
    )
    started = before.model_copy(update={"start_time": "2026-11-22T10:00:30Z"})
    metrics.status_changed(run("a", "Pending"), before, started)
    metrics.status_changed(run("a", "Training"), started, after)
    assert total(metrics, "wft_accelerator_seconds_total", runtime="pod16", outcome="succeeded") == 480
    assert total(metrics, "wft_accelerator_wait_seconds_total", runtime="pod16") == 240


def test_active_runs_have_only_labels_that_no_user_makes_up() -> None:
    metrics = counting(
        [
            with_status("a", state="Queued", reason="WaitingForPartition", runtime="pod16"),
            with_status("b", state="Pending", reason="OfAnotherVersion"),
            with_status("c", state="Succeeded"),
        ]
    )
    active = {tuple(sorted(dict(found).values())): n for found, n in samples_of(metrics, "wft_runs_active").items()}
    assert active == {
        tuple(sorted(("speech", "pod16", "Queued", "WaitingForPartition"))): 1,
        tuple(sorted(("speech", "none", "Pending", "Other"))): 1,
    }


def test_accelerators_and_the_oldest_wait_are_of_runs_at_work_and_of_runs_that_never_were() -> None:
    metrics = counting(
        [
            with_status("a", state="Training", runtime="pod16", ipus=8, startTime=HOUR_AGO),
            with_status("b", state="Unknown", runtime="pod16", ipus=4, startTime=HOUR_AGO),
            with_status("c", state="Queued", runtime="pod16", ipus=16),
            with_status("d", state="Pending", runtime="cpu", startTime=HOUR_AGO),
            with_status("e", state="Suspended", runtime="cpu"),
        ]
    )
    assert total(metrics, "wft_accelerators_in_use") == 12
    assert [dict(found)["runtime"] for found in samples_of(metrics, "wft_waiting_oldest_seconds")] == ["pod16"]
    assert total(metrics, "wft_waiting_oldest_seconds") > 0


def test_partitions_are_counted_by_size_and_use() -> None:
    uses: list[tuple[int, PartitionUse]] = [(4, "free"), (4, "held"), (16, "held"), (16, "idle")]
    metrics = Metrics()
    metrics.add_collector(PartitionFigures(lambda: uses, dict))
    assert total(metrics, "wft_partitions", ipus="4", use="free") == 1
    assert total(metrics, "wft_partitions", use="held") == 2
    assert total(metrics, "wft_partition_ipus", use="held") == 20
    assert total(metrics, "wft_partition_ipus") == 40


def test_a_partition_is_held_by_a_run_at_work_and_idle_without_one() -> None:
    pool = tuple(PoolPartition(f"p{index}", 4, "vipu", 8090, index) for index in range(4))
    book = PartitionBook(lambda _: None, Inventory((*pool, pool[0])))
    for number, (partition, uid) in enumerate(zip(pool, ("at-work", "idle", ""), strict=False)):
        holder = replace(run("a", "Training"), uid=uid)
        lease = build_lease(holder, partition.lease_name, partition.id, datetime.now(UTC))
        book.put_lease({**lease, "metadata": {**lease["metadata"], "uid": str(number), "resourceVersion": "1"}})
    book.note_work("at-work", is_at_work=True)
    assert list(book.uses()) == [(4, "held"), (4, "idle"), (4, "reserved"), (4, "free")]


def test_the_version_is_that_of_the_project_and_of_the_chart() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "whisper-finetune-operator" / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (chart["appVersion"], project["version"]) == (VERSION, VERSION)
    assert total(Metrics(), "wft_build_info", version=VERSION) == 1
