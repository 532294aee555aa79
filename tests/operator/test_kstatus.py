"""kstatus itself, compiled from its Go module, reads every status of every story as the table of states says."""

import json
import subprocess
from typing import Any

import pytest

import ipu_scenarios
import run_scenarios
from cluster.programs import binaries
from kstatus import KSTATUS, kstatus
from repository import ROOT
from run_objects import run_object
from run_scenarios import tell_once

#: To compile it takes twenty seconds, once.
pytestmark = pytest.mark.slow
MODULE = binaries.GoModule(
    ROOT / "tests" / "operator" / "go-kstatus",
    "sigs.k8s.io/cli-utils",
    {"tests-kstatus": "whisperfinetune.dev/tests-kstatus"},
)


def told() -> list[dict[str, Any]]:
    """Return each run of each story as the API has it, once its status is written, and while it is not yet."""
    objects = [run_object()]
    for scenario in (*run_scenarios.SCENARIOS.values(), *ipu_scenarios.SCENARIOS.values()):
        for world, decision in tell_once(scenario):
            metadata = {"name": world.run.name, "namespace": world.run.namespace, "generation": world.run.generation}
            status = decision.status.to_json_object()
            objects.append({"metadata": metadata, "status": status})
            # The user has changed it, and nobody has looked at it since.
            objects.append({"metadata": {**metadata, "generation": world.run.generation + 1}, "status": status})
    head = {"apiVersion": "whisperfinetune.dev/v1alpha1", "kind": "WhisperFineTune"}
    return [{**head, **each} for each in objects]


def test_kstatus_reads_every_status_as_flux_is_to_see_it() -> None:
    objects = told()
    program = binaries.compiled(MODULE) / "tests-kstatus"
    lines = "".join(json.dumps(each) + "\n" for each in objects)
    ran = subprocess.run([str(program)], input=lines, check=True, capture_output=True, text=True)
    verdicts = ran.stdout.split()
    assert len(verdicts) == len(objects) > 100
    for thing, verdict in zip(objects, verdicts, strict=True):
        # What the tests take for kstatus where they cannot start it.
        assert kstatus(thing) == verdict, thing
        status = thing.get("status") or {}
        if status.get("observedGeneration") == thing["metadata"]["generation"] and "state" in status:
            assert verdict == KSTATUS[status["state"]], thing
    assert set(verdicts) == {"InProgress", "Current", "Failed"}
