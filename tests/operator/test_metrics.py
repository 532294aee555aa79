"""What Prometheus reads of runs."""

from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from run_objects import run_object
from run_scenarios import SCENARIOS, tell_once
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.kubernetes_objects import render_time
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.runs import Run

HOUR_AGO = render_time(datetime.now(UTC) - timedelta(hours=1))


def run(name: str, state: str, update_time: str | None = HOUR_AGO) -> Run:
    status = {"state": state, **({"progress": {"updateTime": update_time}} if update_time else {})}
    made = run_object(status=status)
    return Run.from_object({**made, "metadata": {**made["metadata"], "name": name}})


def test_the_age_of_progress_is_that_of_runs_at_work_that_told_some() -> None:
    metrics = Metrics()
    runs = (run("at-work", "Training"), run("lost", "Unknown"), run("new", "Preparing", None), run("over", "Succeeded"))
    metrics.watch_runs(lambda: iter(runs))
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
