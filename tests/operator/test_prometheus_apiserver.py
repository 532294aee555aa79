"""A real Prometheus scrapes a real operator: it loads the alerts, and answers every query of the dashboard."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring_files import alerts_about, panel_queries, prometheus_program, rules
from namespace_view import Namespace
from object_store.server_process import free_port
from operator_process import OperatorProcess, Start, until
from run_objects import DONE

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("install_crd")]
JOB, OPERATOR_NAMESPACE = "whisper-finetune-operator-metrics", "whisper-finetune"

Scrape = Callable[[OperatorProcess], "Prometheus"]


class Prometheus:
    """A Prometheus that scrapes one replica, as the chart's ServiceMonitor has it."""

    def __init__(self, program: Path, replica: OperatorProcess, folder: Path) -> None:
        self.port = free_port()
        target = {"targets": [f"127.0.0.1:{replica.port}"], "labels": {"namespace": OPERATOR_NAMESPACE}}
        scraped = {"job_name": JOB, "honor_labels": True, "scrape_interval": "1s", "static_configs": [target]}
        configuration = {
            "global": {"evaluation_interval": "1s"},
            "rule_files": ["alerts.yaml"],
            "scrape_configs": [scraped],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        (folder / "alerts.yaml").write_text(alerts_about(JOB, OPERATOR_NAMESPACE), encoding="utf-8")
        arguments = {
            "config.file": folder / "prometheus.yaml",
            "storage.tsdb.path": folder / "samples",
            "web.listen-address": f"127.0.0.1:{self.port}",
        }
        with (folder / "prometheus.log").open("wb") as log:
            command = [program, *(f"--{name}={value}" for name, value in arguments.items())]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer, or None where there is none yet."""
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return json.loads(answer.read())["data"]
        except ConnectionError:
            return None
        except urllib.error.URLError as problem:
            if isinstance(problem.reason, ConnectionError):
                return None
            raise

    def find(self, query: str) -> list[Any]:
        """Return the series that a query finds now."""
        return list((self.ask("query", query=query) or {}).get("result", []))


@pytest.fixture
def scrape(tmp_path: Path) -> Iterator[Scrape]:
    program, started = prometheus_program("prometheus"), list[Prometheus]()

    def start_one(replica: OperatorProcess) -> Prometheus:
        started.append(Prometheus(program, replica, tmp_path))
        return started[-1]

    yield start_one
    for each in started:
        each.process.kill()
        each.process.wait()


def test_prometheus_reads_the_operator_and_knows_its_alerts(scrape: Scrape, place: Namespace, start: Start) -> None:
    replica = start()
    prometheus = scrape(replica)
    place.create_run("waits")
    until(place.pods, what="the pod")
    until(lambda: prometheus.find(f'wft_runs_active{{namespace="{place.name}"}}'), what="the run that is not over")
    (pod,) = place.pods()
    place.end_pod(pod, 0, json.dumps(DONE))
    ended = f'wft_runs_ended_total{{namespace="{place.name}", runtime="cpu", result="Succeeded"}} == 1'
    until(lambda: prometheus.find(ended), what="the end of the run")
    assert prometheus.find(f'wft_leader{{job="{JOB}", namespace="{OPERATOR_NAMESPACE}"}} == 1')
    for query in panel_queries():
        prometheus.find(query)
    found = until(lambda: evaluated(prometheus), what="that every alert was looked at")
    assert {each["name"] for each in found} == {each["alert"] for each in rules()}
    assert [each["name"] for each in found if each["health"] != "ok" or each["state"] == "firing"] == []


def evaluated(prometheus: Prometheus) -> list[dict[str, Any]]:
    """Return the alerts once Prometheus has looked at each."""
    groups = (prometheus.ask("rules") or {}).get("groups", [])
    found = [rule for group in groups for rule in group["rules"]]
    return [] if any(rule["health"] == "unknown" for rule in found) else found
