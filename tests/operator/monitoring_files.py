"""The chart's alerts and dashboard as Prometheus and Grafana take them, and Prometheus' own programs."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_release import CHART
from cluster.programs import binaries

ALERTS = (CHART / "files" / "alerts.yaml").read_text(encoding="utf-8")
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
#: Set by `make test-prometheus`.
COMPILE = "WITH_PROMETHEUS"


def rules() -> list[dict[str, Any]]:
    """Return the alerts as they are written."""
    (group,) = yaml.safe_load(ALERTS)["groups"]
    return list(group["rules"])


def alerts_about(job: str, namespace: str) -> str:
    """Return the file of the alerts about an operator, as the chart makes it."""
    return ALERTS.replace("OPERATOR_JOB", job).replace("OPERATOR_NAMESPACE", namespace)


def panel_queries() -> list[str]:
    """Return the queries of all panels, as Grafana asks them of all namespaces and runtimes."""
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    for variable, value in {"$__rate_interval": "5m", "$namespace": ".*", "$runtime": ".*"}.items():
        queries = [query.replace(variable, value) for query in queries]
    return queries


def prometheus_program(name: str) -> Path:
    """Return one of Prometheus' programs. Compiling it takes minutes, so that is done by a command of its own."""
    if not os.environ.get(COMPILE) and not (binaries.PROMETHEUS.cached / name).exists():
        pytest.skip(f"{name} is not compiled here: `make test-prometheus` does it, in 5 minutes of processor time")
    return binaries.program(name)
