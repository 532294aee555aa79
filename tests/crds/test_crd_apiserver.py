"""The CRD on a real API server: what it accepts, what it refuses, and which fields it keeps unchangeable."""

import copy
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes import client

from repository import ROOT
from specs import CASES, MINIMAL, Case, with_changes
from whisper_finetune_api import v1alpha1
from whisper_finetune_api.v1alpha1.rules import OPTIONAL_FIELDS, PRESENT_FIELDS

pytestmark = pytest.mark.apiserver
NAMESPACE = "default"
PLACE = (v1alpha1.GROUP, v1alpha1.VERSION, NAMESPACE, v1alpha1.PLURAL)


@pytest.fixture(scope="module")
def runs(api: client.ApiClient, install_crd: None) -> client.CustomObjectsApi:
    return client.CustomObjectsApi(api)


def whisper_fine_tune(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    version = f"{v1alpha1.GROUP}/{v1alpha1.VERSION}"
    return {"apiVersion": version, "kind": v1alpha1.KIND, "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def run(runs: client.CustomObjectsApi) -> Iterator[dict[str, Any]]:
    """Return an object with every optional field set."""
    everything = with_changes(
        MINIMAL,
        {
            "modelRevision": "main",
            "ipus": 4,
            "runtime": "pod16",
            "operatorClass": "night",
            "ipuConfig": {"optimizerStateOffchip": True},
            "acceptance": {"maxWorsePoints": "0.5"},
            "evaluations": [{"name": "radio", "source": "pvc://speech/radio"}],
            "dataset.evalSplit": "test",
            "longForm": True,
            "training.evalEverySteps": 10,
            "secretRefs": [{"name": "hub", "keys": ["HF_TOKEN"]}],
        },
    )
    made = runs.create_namespaced_custom_object(*PLACE, whisper_fine_tune("whole", everything))
    yield made
    runs.delete_namespaced_custom_object(*PLACE, "whole")


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_object_is_accepted_or_refused(runs: client.CustomObjectsApi, case: Case) -> None:
    body = whisper_fine_tune("table", with_changes(MINIMAL, case.changes))
    if case.server_says is None:
        runs.create_namespaced_custom_object(*PLACE, body, dry_run="All", field_validation="Strict")
        return
    with pytest.raises(client.ApiException) as refusal:
        runs.create_namespaced_custom_object(*PLACE, body, dry_run="All", field_validation="Strict")
    assert refusal.value.status in {400, 422}
    said = refusal.value.body.replace('\\"', '"')
    on_oldest = os.environ.get("KUBERNETES") == "oldest"
    assert ((on_oldest and case.older_server_says) or case.server_says) in said


def test_name_leaves_room_for_the_names_of_pods(runs: client.CustomObjectsApi) -> None:
    runs.create_namespaced_custom_object(*PLACE, whisper_fine_tune("n" * 52, MINIMAL), dry_run="All")
    with pytest.raises(client.ApiException, match="at most 52 characters"):
        runs.create_namespaced_custom_object(*PLACE, whisper_fine_tune("n" * 53, MINIMAL), dry_run="All")


def test_defaults_are_filled_in(run: dict[str, Any]) -> None:
    assert run["spec"]["training"] == {
        "steps": 1000,
        "learningRate": "1e-5",
        "warmupFraction": "0.25",
        "batchSize": 16,
        "seed": 0,
        "evalEverySteps": 10,
        "maxLabelTokens": 224,
        "trainable": "All",
        "resumeEverySeconds": 600,
    }
    assert run["spec"]["retries"] == 3
    assert run["spec"]["suspend"] is False
    assert run["spec"]["dataset"]["evalFraction"] == "0.2"


IMMUTABLE: dict[str, dict[str, Any]] = {
    "model changed": {"model": "openai/whisper-small"},
    "language changed": {"language": "ca"},
    "task changed": {"task": "translate"},
    "source changed": {"dataset.source": "pvc://other/it"},
    "eval split changed": {"dataset.evalSplit": "dev"},
    "eval split removed": {"dataset.evalSplit": None},
    "long form left out": {"longForm": False},
    "config added": {"dataset.config": "SLR69"},
    "clip limit added": {"dataset.maxTrainClips": 10},
    "text rules changed": {"dataset.textRules": "None"},
    "steps changed": {"training.steps": 999},
    "evaluations changed": {"training.evalEverySteps": 11},
    "evaluations removed": {"training.evalEverySteps": None},
    "precision added": {"training.precision": "Float"},
    "output changed": {"output.uri": "pvc://speech/other"},
    "checkpoints changed": {"output.keepCheckpoints": 5},
    "secret key changed": {"secretRefs": [{"name": "hub", "keys": ["AWS_REGION"]}]},
    "secrets removed": {"secretRefs": None},
    "revision changed": {"modelRevision": "other"},
    "revision removed": {"modelRevision": None},
    "ears changed": {"evaluations": [{"name": "radio", "source": "pvc://speech/calls"}]},
    "ears removed": {"evaluations": None},
    "IPUs changed": {"ipus": 8},
    "IPUs removed": {"ipus": None, "ipuConfig": None},
    "runtime changed": {"runtime": "other"},
    "runtime removed": {"runtime": None},
    "class changed": {"operatorClass": "day"},
    "class removed": {"operatorClass": None},
    "overrides changed": {"ipuConfig": {"optimizerStateOffchip": False}},
    "overrides removed": {"ipuConfig": None},
    "acceptance changed": {"acceptance.maxWorsePoints": "5"},
    "acceptance removed": {"acceptance": None},
}


@pytest.mark.parametrize("changes", [pytest.param(changes, id=name) for name, changes in IMMUTABLE.items()])
def test_what_defines_the_training_cannot_change(
    runs: client.CustomObjectsApi, run: dict[str, Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(client.ApiException, match="cannot change after creation"):
        runs.replace_namespaced_custom_object(*PLACE, "whole", {**run, "spec": with_changes(run["spec"], changes)})


@pytest.mark.parametrize(
    "field", ["modelRevision", "ipus", "runtime", "operatorClass", "ipuConfig", "acceptance", "secretRefs"]
)
def test_what_was_absent_cannot_be_added(runs: client.CustomObjectsApi, run: dict[str, Any], field: str) -> None:
    bare = runs.create_namespaced_custom_object(*PLACE, whisper_fine_tune("bare", MINIMAL))
    try:
        added = {name: run["spec"][name] for name in ({field, "ipus"} if field == "ipuConfig" else {field})}
        with pytest.raises(client.ApiException, match="cannot change after creation"):
            runs.replace_namespaced_custom_object(*PLACE, "bare", {**bare, "spec": {**bare["spec"], **added}})
    finally:
        runs.delete_namespaced_custom_object(*PLACE, "bare")


@pytest.mark.parametrize("field", PRESENT_FIELDS + OPTIONAL_FIELDS)
def test_a_refused_change_names_its_field_and_says_what_to_do(
    runs: client.CustomObjectsApi, run: dict[str, Any], field: str
) -> None:
    changed = next(each for each in IMMUTABLE.values() if next(iter(each)).split(".")[0] == field)
    with pytest.raises(client.ApiException) as refusal:
        runs.replace_namespaced_custom_object(*PLACE, "whole", {**run, "spec": with_changes(run["spec"], changed)})
    (cause,) = json.loads(refusal.value.body)["details"]["causes"]
    assert cause["field"] == "spec"
    assert cause["message"].endswith(f": {field} cannot change after creation; make a new WhisperFineTune")


def test_spec_cannot_change_beside_the_status(runs: client.CustomObjectsApi, run: dict[str, Any]) -> None:
    # The rule trusts that one write never changes both.
    both = {**run, "spec": with_changes(run["spec"], {"training.steps": 7}), "status": {"observedGeneration": 9}}
    with pytest.raises(client.ApiException, match="training cannot change after creation"):
        runs.replace_namespaced_custom_object(*PLACE, "whole", both)
    with pytest.raises(client.ApiException, match="training cannot change after creation"):
        runs.patch_namespaced_custom_object(
            *PLACE, "whole", {"spec": {"training": {"steps": 7}}, "status": {"state": "Failed"}}
        )
    written = runs.replace_namespaced_custom_object_status(*PLACE, "whole", both)
    assert written["spec"] == run["spec"]
    assert written["status"] == {"observedGeneration": 9}


def test_mutable_fields_change_are_added_and_removed(runs: client.CustomObjectsApi, run: dict[str, Any]) -> None:
    mutable = {"suspend": True, "retries": 5, "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 10}
    changed = runs.replace_namespaced_custom_object(*PLACE, "whole", {**run, "spec": {**run["spec"], **mutable}})
    assert changed["metadata"]["generation"] == 2
    removed = with_changes(changed["spec"], {"activeDeadlineSeconds": None, "ttlSecondsAfterFinished": None})
    again = runs.replace_namespaced_custom_object(*PLACE, "whole", {**changed, "spec": removed})
    assert "activeDeadlineSeconds" not in again["spec"]


def test_status_is_a_subresource_of_its_own(runs: client.CustomObjectsApi, run: dict[str, Any]) -> None:
    assert run["status"] == {"observedGeneration": -1}
    status = {"observedGeneration": 1, "state": "Training"}
    written = runs.patch_namespaced_custom_object_status(*PLACE, "whole", {"status": status, "spec": {"model": "x/y"}})
    assert written["status"] == status
    assert written["spec"]["model"] == run["spec"]["model"]
    assert written["metadata"]["generation"] == 1
    body = copy.deepcopy(written)
    body["status"] = {"observedGeneration": 7}
    assert runs.replace_namespaced_custom_object(*PLACE, "whole", body)["status"] == status


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"observedGeneration": 1, "state": "Done"}, "Unsupported value"),
        ({"observedGeneration": 1, "result": {"wer": "NaN", "normalizedWer": "1.00"}}, "should match"),
        ({"observedGeneration": 1, "result": {"wer": 21.6, "normalizedWer": "1.00"}}, "must be of type string"),
    ],
)
def test_status_that_is_malformed_is_refused(
    runs: client.CustomObjectsApi, run: dict[str, Any], status: dict[str, Any], message: str
) -> None:
    with pytest.raises(client.ApiException, match=message):
        runs.patch_namespaced_custom_object_status(*PLACE, "whole", {"status": status})


def test_crd_is_small_and_accepted_without_warnings(api: client.ApiClient, install_crd: None) -> None:
    found = client.ApiextensionsV1Api(api).read_custom_resource_definition(f"{v1alpha1.PLURAL}.{v1alpha1.GROUP}")
    conditions = {condition.type: condition.status for condition in found.status.conditions}
    assert conditions["NamesAccepted"] == "True"
    assert conditions["Established"] == "True"
    assert "NonStructuralSchema" not in conditions
    sent = yaml.safe_load((ROOT / "crds" / "whisperfinetunes.yaml").read_text(encoding="utf-8"))
    # As JSON, which is how clients and etcd have it: a quarter of what `kubectl apply` may keep in an annotation.
    assert len(json.dumps(sent, separators=(",", ":"))) < 65_536


def test_the_file_can_be_applied_by_a_user(api: client.ApiClient, install_crd: None) -> None:
    text = (ROOT / "crds" / "whisperfinetunes.yaml").read_text(encoding="utf-8")
    assert len(text) < 262_144, "kubectl apply keeps it in an annotation"
    assert yaml.safe_load(text)["metadata"]["name"] == f"{v1alpha1.PLURAL}.{v1alpha1.GROUP}"
