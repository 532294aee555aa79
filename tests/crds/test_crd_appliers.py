"""Who owns which field of a run that several people and tools apply: kubectl against a real API server."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.programs import binaries
from specs import MINIMAL
from whisper_finetune_api import v1alpha1

pytestmark = pytest.mark.apiserver
VERSION = f"{v1alpha1.GROUP}/{v1alpha1.VERSION}"
TRAINING = {"steps": 100, "batchSize": 8}


class Kubectl:
    """kubectl as an admin calls it, and the one run `shared` that the tests are about."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command = [str(binaries.program("kubectl")), "--kubeconfig", str(kubeconfig), "--namespace", "default"]

    def call(
        self, *arguments: str, manifest: dict[str, Any] | None = None, editor: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "KUBE_EDITOR": editor}
        return subprocess.run(
            [*self._command, *arguments],
            input=json.dumps(manifest),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def apply(self, manager: str, manifest: dict[str, Any], *more: str) -> "subprocess.CompletedProcess[str]":
        return self.call("apply", "--server-side", f"--field-manager={manager}", "-f", "-", *more, manifest=manifest)

    def run(self) -> dict[str, Any]:
        shown = self.call("get", "wft", "shared", "--output=json", "--show-managed-fields")
        assert shown.returncode == 0, shown.stderr
        found: dict[str, Any] = json.loads(shown.stdout)
        return found

    def owned_by(self, manager: str) -> dict[str, Any]:
        (owned,) = [each for each in self.run()["metadata"]["managedFields"] if each["manager"] == manager]
        fields: dict[str, Any] = owned["fieldsV1"]
        return fields


def manifest(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": VERSION, "kind": v1alpha1.KIND, "metadata": {"name": "shared"}, "spec": spec}


WHOLE = manifest(**MINIMAL, training=TRAINING)


@pytest.fixture
def kubectl(control_plane: Path, install_crd: None) -> Iterator[Kubectl]:
    """Return kubectl after somebody has applied the run."""
    made = Kubectl(control_plane)
    applied = made.apply("somebody", WHOLE)
    assert applied.returncode == 0, applied.stderr
    yield made
    made.call("delete", "wft", "shared")


def test_the_same_manifest_applied_by_another_is_no_conflict(kubectl: Kubectl) -> None:
    # An owner of `training` as a whole would own its defaults too, which no manifest holds.
    assert kubectl.apply("another", WHOLE).returncode == 0
    assert kubectl.owned_by("another") == kubectl.owned_by("somebody")
    assert kubectl.owned_by("somebody")["f:spec"]["f:training"] == {"f:batchSize": {}, "f:steps": {}}


def test_applying_again_writes_nothing(kubectl: Kubectl) -> None:
    # The first time stores the defaults that came with reading until then.
    assert kubectl.apply("somebody", WHOLE).returncode == 0
    before = kubectl.run()
    assert kubectl.apply("somebody", WHOLE).returncode == 0
    assert kubectl.run() == before


def test_who_suspends_a_run_keeps_that_field(kubectl: Kubectl) -> None:
    assert kubectl.apply("queue", manifest(suspend=True)).returncode == 0
    assert kubectl.apply("somebody", WHOLE).returncode == 0
    assert kubectl.run()["spec"]["suspend"] is True
    refused = kubectl.apply("somebody", manifest(**MINIMAL, training=TRAINING, suspend=False))
    assert refused.returncode != 0
    assert 'conflict with "queue": .spec.suspend' in refused.stderr


CONDITION = {
    "type": "Running",
    "status": "True",
    "reason": "Training",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
    "observedGeneration": 1,
}


def status_of(**status: Any) -> dict[str, Any]:
    whole = manifest()
    del whole["spec"]
    return {**whole, "status": {"observedGeneration": 1, **status}}


def test_each_part_of_the_status_has_one_owner_and_the_spec_keeps_its_own(kubectl: Kubectl) -> None:
    status = status_of(attempts={"started": 1}, conditions=[CONDITION])
    spec_before = kubectl.owned_by("somebody")
    assert kubectl.apply("operator", status, "--subresource=status", "--force-conflicts").returncode == 0
    assert kubectl.owned_by("operator")["f:status"] == {
        "f:observedGeneration": {},
        "f:attempts": {},
        "f:conditions": {'k:{"type":"Running"}': {}},
    }
    assert kubectl.owned_by("somebody") == spec_before
    before = kubectl.run()
    assert kubectl.apply("somebody", WHOLE).returncode == 0
    assert kubectl.run() == before


def test_who_changes_a_part_of_the_status_by_hand_leaves_the_rest_to_the_operator(kubectl: Kubectl) -> None:
    # By its name there an installation knows the runs that it follows.
    assert kubectl.apply("operator", status_of(state="Pending"), "--subresource=status").returncode == 0
    edited = kubectl.call(
        "edit", "wft", "shared", "--subresource=status", editor="sed -i 's/state: Pending/state: Failed/'"
    )
    assert edited.returncode == 0, edited.stderr
    assert kubectl.owned_by("operator") == {"f:status": {"f:observedGeneration": {}}}
    assert kubectl.owned_by("kubectl-edit") == {"f:status": {"f:state": {}}}


def test_a_condition_is_there_once(kubectl: Kubectl) -> None:
    twice = kubectl.apply("operator", status_of(conditions=[CONDITION, CONDITION]), "--subresource=status")
    assert twice.returncode != 0
    assert kubectl.run()["status"] == {"observedGeneration": -1}


def test_a_status_that_is_applied_replaces_the_one_before(kubectl: Kubectl) -> None:
    for written in (
        status_of(state="Failed", reason="OutOfMemory", attempts={"started": 1}),
        status_of(state="Pending"),
    ):
        assert kubectl.apply("operator", written, "--subresource=status").returncode == 0
    assert kubectl.run()["status"] == {"observedGeneration": 1, "state": "Pending"}


@pytest.mark.parametrize("server_side", [(), ("--server-side", "--field-manager=somebody")], ids=["client", "server"])
def test_diff_of_what_is_applied_is_empty(kubectl: Kubectl, server_side: tuple[str, ...]) -> None:
    same = kubectl.call("diff", *server_side, "-f", "-", manifest=WHOLE)
    assert (same.returncode, same.stdout) == (0, ""), same.stderr
    changed = kubectl.call("diff", *server_side, "-f", "-", manifest=manifest(**MINIMAL, training=TRAINING, retries=7))
    assert changed.returncode == 1
    assert "retries: 7" in changed.stdout


def test_a_person_edits_what_may_change_and_nothing_else(kubectl: Kubectl) -> None:
    edited = kubectl.call("edit", "wft", "shared", editor="sed -i 's/retries: 3/retries: 7/'")
    assert edited.returncode == 0, edited.stderr
    assert kubectl.run()["spec"]["retries"] == 7
    assert kubectl.owned_by("kubectl-edit") == {"f:spec": {"f:retries": {}}}
    refused = kubectl.call("edit", "wft", "shared", editor="sed -i 's/steps: 100/steps: 101/'")
    assert refused.returncode != 0
    assert "is invalid" in refused.stderr
    assert kubectl.run()["spec"]["training"]["steps"] == 100
