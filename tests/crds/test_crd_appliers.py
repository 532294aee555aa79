"""Who owns which field of a run that several people and tools apply: kubectl against a real API server.

At the end, what becomes of runs and of their owners when another version is served beside v1alpha1, as docs/upgrades.md
plans it.
"""

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from cluster.programs import binaries
from operator_process import until
from repository import ROOT
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


NEXT = "v1beta1"
DEFINITION = yaml.safe_load((ROOT / "crds" / "whisperfinetunes.yaml").read_text(encoding="utf-8"))
NAME = DEFINITION["metadata"]["name"]


class ServedVersions:
    """What the API server serves: both versions have one schema, and no conversion but of their name."""

    def __init__(self, api: client.ApiClient) -> None:
        self._extensions = client.ApiextensionsV1Api(api)
        self._groups = client.ApisApi(api)

    def serve(self, *names: str, stored: str) -> None:
        definition = copy.deepcopy(DEFINITION)
        (today,) = definition["spec"]["versions"]
        definition["spec"]["versions"] = [{**today, "name": name, "storage": name == stored} for name in names]
        definition["metadata"]["resourceVersion"] = self._read().metadata.resource_version
        self._extensions.replace_custom_resource_definition(NAME, definition)
        until(lambda: set(names) == self._served(), what=f"{names} served")

    def stored(self) -> list[str]:
        versions: list[str] = self._read().status.stored_versions
        return versions

    def say_stored(self, name: str) -> None:
        self._extensions.patch_custom_resource_definition_status(NAME, {"status": {"storedVersions": [name]}})

    def _served(self) -> set[str]:
        (group,) = [group for group in self._groups.get_api_versions().groups if group.name == v1alpha1.GROUP]
        return {version.version for version in group.versions}

    def _read(self) -> Any:
        return self._extensions.read_custom_resource_definition(NAME)


@pytest.fixture
def versions(api: client.ApiClient, kubectl: Kubectl) -> Iterator[ServedVersions]:
    """Serve both versions, of which v1alpha1 is stored."""
    served = ServedVersions(api)
    served.serve(v1alpha1.VERSION, NEXT, stored=v1alpha1.VERSION)
    yield served
    kubectl.call("delete", "wft", "shared")
    served.serve(v1alpha1.VERSION, NEXT, stored=v1alpha1.VERSION)
    served.say_stored(v1alpha1.VERSION)
    served.serve(v1alpha1.VERSION, stored=v1alpha1.VERSION)


def in_next_version(run: dict[str, Any]) -> dict[str, Any]:
    return {**run, "apiVersion": f"{v1alpha1.GROUP}/{NEXT}"}


def test_a_manifest_that_moves_to_the_next_version_changes_nothing(kubectl: Kubectl, versions: ServedVersions) -> None:
    assert versions.stored() == [v1alpha1.VERSION]
    status = status_of(state="Training", attempts={"started": 1}, conditions=[CONDITION])
    assert kubectl.apply("operator", status, "--subresource=status").returncode == 0
    before = kubectl.run()
    moved = kubectl.apply("somebody", in_next_version(WHOLE))
    assert moved.returncode == 0, moved.stderr
    after = kubectl.run()
    assert (after["spec"], after["status"]) == (before["spec"], before["status"])
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    # An operator of before goes on: what it applies in its own version is still its own.
    status["status"]["state"] = "Succeeded"
    assert kubectl.apply("operator", status, "--subresource=status").returncode == 0
    assert kubectl.run()["status"]["state"] == "Succeeded"


def test_a_version_goes_when_every_run_was_written_in_the_next(kubectl: Kubectl, versions: ServedVersions) -> None:
    before = kubectl.run()
    versions.serve(v1alpha1.VERSION, NEXT, stored=NEXT)
    assert versions.stored() == [v1alpha1.VERSION, NEXT]
    with pytest.raises(client.ApiException, match="previously a storage version"):
        versions.serve(NEXT, stored=NEXT)
    # As a storage migration does it: what was read is written back, and so stored in the version of today.
    written = kubectl.call("replace", "-f", "-", manifest=in_next_version(before))
    assert written.returncode == 0, written.stderr
    versions.say_stored(NEXT)
    versions.serve(NEXT, stored=NEXT)
    after = kubectl.run()
    assert (after["apiVersion"], after["spec"], after["status"]) == (
        f"{v1alpha1.GROUP}/{NEXT}",
        before["spec"],
        before["status"],
    )
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
