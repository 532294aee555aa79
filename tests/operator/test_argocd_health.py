"""Argo CD's health of every status that the operator writes, by the check in the chart."""

from typing import Any

import pytest

from repository import ROOT
from run_scenarios import SCENARIOS, Scenario, tell_once

lupa = pytest.importorskip("lupa", reason="lupa, which runs Lua, is not installed")

CHECK = ROOT / "charts" / "whisper-finetune-operator" / "files" / "argocd-health.lua"
HEALTH = {"Succeeded": "Healthy", "Failed": "Degraded", "Suspended": "Suspended"}
"""Of each state; all others are Progressing."""


def health_of(generation: int, status: dict[str, Any] | None) -> tuple[str, str]:
    """Run the check as Argo CD does: on the object `obj`, returning status and message."""
    runtime = lupa.LuaRuntime()
    thing = {"metadata": {"generation": generation}} | ({"status": status} if status is not None else {})
    runtime.globals().obj = runtime.table_from(thing, recursive=True)
    answer = runtime.execute(CHECK.read_text())
    return answer["status"], answer["message"]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_health_follows_the_state_and_says_why(scenario: Scenario) -> None:
    for world, decision in tell_once(scenario):
        if world.run.deletion:
            continue
        status = decision.status.to_json_object()
        succeeded = next(condition for condition in status["conditions"] if condition["type"] == "Succeeded")
        health, message = health_of(world.run.generation, status)
        assert health == HEALTH.get(status["state"], "Progressing")
        assert message == (succeeded.get("message") or succeeded["reason"])


@pytest.mark.parametrize("status", [None, {"observedGeneration": -1}, {"observedGeneration": 1, "state": "Succeeded"}])
def test_what_the_operator_has_not_seen_yet_is_progressing(status: dict[str, Any] | None) -> None:
    assert health_of(2, status)[0] == "Progressing"
