"""What the chart gives to Prometheus and Grafana: alerts and a dashboard of metrics that there are, told to admins."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from chart_release import CHART, NAMESPACE, RELEASE, helm, render
from monitoring_files import DASHBOARD, alerts_about, panel_queries, prometheus_program, rules
from repository import ROOT
from run_scenarios import SCENARIOS, tell_once
from whisper_finetune_api.v1alpha1 import WhisperFineTuneStatus
from whisper_finetune_operator.observability.metric_table import BY_NAME, METRICS, known_reason
from whisper_finetune_operator.observability.metrics import Metrics
from whisper_finetune_operator.observability.scraped_figures import PartitionFigures, RunFigures

PARTS = ("serviceMonitor", "podMonitor", "rules", "dashboard")
#: What Prometheus itself puts on what it scrapes, and on a histogram's buckets.
OF_EVERY_TARGET = {"job", "namespace", "instance", "le"}


def queries() -> Iterator[tuple[str, str]]:
    """Yield title and expression of every query of the alerts and the dashboard."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def metrics_in(query: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each of our metrics that a query names, and the labels that it is selected by."""
    for name, matchers in re.findall(r"\b(wft_\w+)(\{[^}]*\})?", query):
        yield re.sub(r"_(bucket|sum|count)$", "", name), re.findall(r"(\w+)\s*[=!]", matchers)


QUERIES = sorted({query for _, query in queries()})


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_metrics_and_labels_that_there_are(query: str) -> None:
    named = dict(metrics_in(query))
    for name, labels in named.items():
        assert name in BY_NAME or name.startswith("up"), name
        assert set(labels) <= {*BY_NAME[name].labels, *OF_EVERY_TARGET}
    if named:
        known = OF_EVERY_TARGET.union(*(BY_NAME[name].labels for name in named))
        grouped = {label for found in re.findall(r"by \(([^)]*)\)", query) for label in found.split(", ")}
        assert grouped <= known


def test_alerts_select_by_reasons_that_there_are() -> None:
    found = [
        reason
        for rule in rules()
        for each in re.findall(r'reason=~"([^"]*)"', rule["expr"])
        for reason in each.split("|")
    ]
    assert found
    assert [reason for reason in found if known_reason(reason) != reason] == []


def test_every_other_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    shown = {name for title, query in queries() if title for name, _ in metrics_in(query)}
    left_out = {row.name for row in METRICS} - shown
    assert left_out == {
        "wft_attempts_started_total",
        "wft_partition_kept",
        "wft_runs_judged_total",
        "wft_runs_of_others",
    }


def test_no_panel_lies_on_another() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


@pytest.mark.apiserver
class TestRendered:
    def test_nothing_is_made_unless_it_is_asked_for(self) -> None:
        kinds = {kind for kind, _ in render()}
        assert not kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
        assert not [name for kind, name in render() if kind == "ConfigMap" and "dashboard" in name]

    def test_what_is_made_has_the_labels_by_which_it_is_found(self) -> None:
        made = render({"metrics": {part: {"enabled": True, "labels": {"release": "mine"}} for part in PARTS}})
        more = {key: each for key, each in made.items() if key not in render()}
        assert {kind for kind, _ in more} == {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"}
        assert {each["metadata"]["labels"]["release"] for each in more.values()} == {"mine"}
        (dashboard,) = more["ConfigMap", f"{RELEASE}-dashboard"]["data"].values()
        assert json.loads(dashboard) == DASHBOARD

    def test_the_service_monitor_finds_the_service(self) -> None:
        made = render({"metrics": {"serviceMonitor": {"enabled": True}}})
        service, monitor = made["Service", f"{RELEASE}-metrics"], made["ServiceMonitor", RELEASE]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert [each["port"] for each in monitor["spec"]["endpoints"]] == [service["spec"]["ports"][0]["name"]]
        refused = helm(
            "template", RELEASE, str(CHART), values={"metrics": {"service": False, "serviceMonitor": {"enabled": True}}}
        )
        assert "metrics.serviceMonitor needs metrics.service" in refused.stderr

    def test_alerts_are_about_the_service_of_the_release(self) -> None:
        made = render({"metrics": {"rules": {"enabled": True}}})["PrometheusRule", RELEASE]
        text = json.dumps(made["spec"])
        assert f'job=\\"{RELEASE}-metrics\\"' in text
        assert f'namespace=\\"{NAMESPACE}\\"' in text
        assert "OPERATOR_" not in text


@pytest.fixture(scope="module")
def promtool() -> Path:
    return prometheus_program("promtool")


def run(promtool: Path, *arguments: str | Path) -> None:
    ran = subprocess.run([promtool, *arguments], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.apiserver
class TestByPrometheus:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "alerts.yaml").write_text(alerts_about("J", "N"), encoding="utf-8")
        return tmp_path

    def test_alerts_are_well_formed(self, promtool: Path, folder: Path) -> None:
        run(promtool, "check", "rules", "--lint=all", "--lint-fatal", folder / "alerts.yaml")

    def test_each_alert_fires_where_it_should_and_none_where_all_is_well(self, promtool: Path, folder: Path) -> None:
        told = (ROOT / "tests" / "operator" / "alert_tests.yaml").read_text(encoding="utf-8")
        (folder / "tests.yaml").write_text(told, encoding="utf-8")
        run(promtool, "test", "rules", folder / "tests.yaml")
        asked = [each for test in yaml.safe_load(told)["tests"] for each in test["alert_rule_test"]]
        assert {each["alertname"] for each in asked if "exp_alerts" in each} == {rule["alert"] for rule in rules()}

    def test_each_query_of_the_dashboard_finds_something_in_what_the_operator_shows(
        self, promtool: Path, folder: Path
    ) -> None:
        samples = [sample for family in shown_metrics().registry.collect() for sample in family.samples]
        series = [series_of(sample.name, sample.labels, sample.value) for sample in samples]
        expected = [{"labels": "{}", "value": 1}]
        asked = [
            {"expr": f"count({query}) > bool 0", "eval_time": "2h", "exp_samples": expected}
            for query in panel_queries()
        ]
        test = {"interval": "1m", "input_series": series, "promql_expr_test": asked}
        told = {"rule_files": [], "evaluation_interval": "1m", "tests": [test]}
        (folder / "queries.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
        run(promtool, "test", "rules", folder / "queries.yaml")


def shown_metrics() -> Metrics:
    """Return what an operator shows that has taken a run through every story, and has each at its end."""
    metrics, runs = Metrics(), []
    for story in SCENARIOS.values():
        before = WhisperFineTuneStatus()
        for world, decision in tell_once(story):
            metrics.status_changed(world.run, before, decision.status)
            before = decision.status
            runs.append(replace(world.run, status=before.to_json_object()))
    metrics.add_collector(RunFigures(lambda: iter(runs)))
    metrics.add_collector(PartitionFigures(lambda: [(4, "free"), (16, "held")], dict))
    for row in METRICS:
        if row.kind == "gauge" and not row.labels and row.name != "wft_leader":
            metrics.watch(row.name, lambda: 1.0)
    metrics.reconciles.labels("done").inc()
    metrics.reconcile_seconds.observe(0.01)
    metrics.job_seconds.observe(0.5)
    metrics.api_requests.labels("create", "jobs", "201").inc()
    metrics.progress_refused.labels("foreign").inc()
    return metrics


def series_of(name: str, labels: dict[str, str], value: float) -> dict[str, str]:
    """Return two hours of a sample, as promtool takes it: a counter grows by its value each minute."""
    labelled = {"job": "whisper-finetune-operator-metrics", "namespace": NAMESPACE, **labels}
    inside = ", ".join(f"{label}={json.dumps(text)}" for label, text in labelled.items())
    grows = name.endswith(("_total", "_bucket", "_sum", "_count"))
    return {"series": f"{name}{{{inside}}}", "values": f"0+{value:f}x120" if grows else f"{value:f}x120"}
