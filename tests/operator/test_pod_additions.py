"""podTemplate of a runtime: what an admin adds to the trainer's pod, what he may not, and in which words."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from golden_files import check_golden_objects
from repository import ROOT
from run_objects import RICHEST_POD_TEMPLATE
from test_workload import built, environment, example, on, readable
from whisper_finetune_operator.planning import pod_additions, runtimes
from whisper_finetune_operator.planning.runtimes import Runtime, Runtimes, RuntimesError


def runtime_with(template: dict[str, Any]) -> Runtimes:
    plain = {"name": "cpu", "accelerator": "cpu", "image": "trainer:1", "podTemplate": template}
    return Runtimes(default_runtime="cpu", runtimes=(Runtime.model_validate(plain),))


def refusal_of(tmp_path: Path, template: dict[str, Any], **others: Any) -> str:
    file = tmp_path / "runtimes.yaml"
    plain = {"name": "cpu", "accelerator": "cpu", "image": "trainer:1", "podTemplate": template, **others}
    file.write_text(yaml.safe_dump({"runtimes": [plain]}), encoding="utf-8")
    with pytest.raises(RuntimesError) as refused:
        runtimes.load_runtimes(file)
    return str(refused.value)


def test_the_job_of_the_richest_template_is_the_golden_one() -> None:
    check_golden_objects(
        "job-of-a-pod-template.yaml", readable(built(example("minimal"), offered=runtime_with(RICHEST_POD_TEMPLATE)))
    )


def test_without_a_template_the_pod_is_the_operators_alone() -> None:
    assert on({"podTemplate": {}}) == on({"podTemplate": {"metadata": {}, "spec": {}}}) == on({})


def test_nothing_of_the_operators_gives_way() -> None:
    plain, rich = on({}), on({"podTemplate": RICHEST_POD_TEMPLATE})
    for field in plain.keys() - {"containers", "volumes"}:
        assert rich[field] == plain[field], field
    assert rich["volumes"][: len(plain["volumes"])] == plain["volumes"]
    (before,), (after,) = plain["containers"], rich["containers"]
    assert after["volumeMounts"][: len(before["volumeMounts"])] == before["volumeMounts"]
    assert environment(rich)["HOME"] == environment(plain)["HOME"]
    for field in before.keys() - {"volumeMounts", "resources"}:
        assert after[field] == before[field], field


def test_a_further_empty_folder_counts_against_the_disk() -> None:
    limits = [on({"podTemplate": each})["containers"][0]["resources"]["limits"] for each in ({}, RICHEST_POD_TEMPLATE)]
    assert [each["ephemeral-storage"] for each in limits] == ["13Gi", "17Gi"]


def test_the_operators_volumes_and_folders_are_those_that_are_kept_free() -> None:
    everything = {
        "modelCache": {"emptyDir": {}},
        "executableCache": {"emptyDir": {}},
        "sharedMemory": "1Gi",
        "caBundle": {"configMap": "ca"},
    }
    pod = on(everything)
    for mount in pod["containers"][0]["volumeMounts"]:
        assert pod_additions.is_own_folder(mount["mountPath"]), mount
        assert pod_additions.is_own_volume(mount["name"]), mount


def pod(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


def mounted(folder: str, **volume: Any) -> dict[str, Any]:
    trainer = {"name": "trainer", "volumeMounts": [{"name": "more", "mountPath": folder}]}
    return pod(volumes=[{"name": "more", "emptyDir": {}, **volume}], containers=[trainer])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a field of its own": (pod(nodeSelector={"a": "b"}), "nodeSelector cannot be set here: it is the runtime's field"),
    "the operator's field": (pod(restartPolicy="Always"), "restartPolicy cannot be set here: it is the operator's own"),
    "a token": (pod(automountServiceAccountToken=True), "never gets a token of the API server"),
    "the node's processes": (pod(hostPID=True), "hostPID cannot be set here: no trainer needs"),
    "a further container": (pod(initContainers=[]), "initContainers cannot be set here: the trainer is the pod's one"),
    "a sidecar": (pod(containers=[{"name": "proxy"}]), "a container is called proxy, and the only one is trainer"),
    "two containers": (pod(containers=[{"name": "trainer"}] * 2), "at most 1 item"),
    "a command": (pod(containers=[{"name": "trainer", "command": ["sh"]}]), "command cannot be set here"),
    "an image": (pod(containers=[{"name": "trainer", "image": "x"}]), "image cannot be set here: it is the runtime's"),
    "no field": (pod(runtimeClasName="a"), "runtimeClasName is not a field that it has, did you mean runtimeClassName"),
    "no field of an affinity": (
        pod(affinity={"nodeAfinity": {}}),
        "Affinity: nodeAfinity is not a field that it has, did you mean nodeAffinity?",
    ),
    "deep inside": (
        pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologykey": "a"}]}}),
        "podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]: topologykey is not a field that it has",
    ),
    "a missing field": (pod(topologySpreadConstraints=[{"maxSkew": 1}]), "TopologySpreadConstraint lacks topologyKey"),
    "a wrong type": (
        pod(topologySpreadConstraints=[{"maxSkew": "1", "topologyKey": "a", "whenUnsatisfiable": "b"}]),
        "maxSkew must be a whole number",
    ),
    "no list": (pod(dnsConfig={"nameservers": "10.0.0.1"}), "nameservers must be a list"),
    "no name of an object": (pod(serviceAccountName="Speech Store"), "podTemplate.spec.serviceAccountName"),
    "a label of the operator": (
        {"metadata": {"labels": {"whisperfinetune.dev/run-uid": "x"}}},
        "whisperfinetune.dev/run-uid: the operator, the Job's controller and Kueue write these",
    ),
    "a label of Kueue": ({"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "x"}}}, "and Kueue write these"),
    "no label": ({"metadata": {"labels": {"a b": "x"}}}, "a b: not a name of a label"),
    "no value of a label": ({"metadata": {"labels": {"a": "x y"}}}, "x y: not a label's value"),
    "the operator's volume": (pod(volumes=[{"name": "scratch", "emptyDir": {}}]), "has volumes of these names"),
    "a claim's volume": (pod(volumes=[{"name": "claim-0", "emptyDir": {}}]), "has volumes of these names"),
    "one name twice": (pod(volumes=[{"name": "a", "emptyDir": {}}] * 2), "two volumes are called a"),
    "a volume without source": (pod(volumes=[{"name": "a"}]), "must be one volume source"),
    "a volume of a misspelled kind": (pod(volumes=[{"name": "a", "emptydir": {}}]), "did you mean emptyDir?"),
    "a size that is none": (pod(volumes=[{"name": "a", "emptyDir": {"sizeLimit": "much"}}]), "it must be a quantity"),
    "a mount without volume": (
        pod(containers=[{"name": "trainer", "volumeMounts": [{"name": "a", "mountPath": "/a"}]}]),
        "volume a is mounted and not among volumes",
    ),
    "over the scratch space": (mounted("/scratch/more"), "would hide a folder of the operator's"),
    "over everything": (mounted("/"), "would hide a folder of the operator's"),
    "over the log of the end": (mounted("/dev"), "would hide a folder of the operator's"),
    "a relative folder": (mounted("more"), "must begin with / and have no .."),
    "upwards": (mounted("/more/../scratch"), "must begin with / and have no .."),
    "a token of the API server": (
        pod(volumes=[{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]),
        "volume a: a serviceAccountToken needs an audience",
    ),
    "a path of the host": (
        pod(volumes=[{"name": "a", "hostPath": {"path": "/data"}}]),
        "rights on the node: cpu (podTemplate.spec.volumes: hostPath)",
    ),
}


@pytest.mark.parametrize(("template", "says"), REFUSED.values(), ids=REFUSED)
def test_what_an_admin_may_not_add_is_refused_with_the_reason(
    tmp_path: Path, template: dict[str, Any], says: str
) -> None:
    said = refusal_of(tmp_path, template)
    assert says in said
    assert "\n" not in said


def test_tolerations_and_caches_are_held_to_the_kubernetes_types_too(tmp_path: Path) -> None:
    assert "did you mean operator?" in refusal_of(tmp_path, {}, tolerations=[{"key": "a", "operators": "Exists"}])
    misspelled = {"persistentVolumeclaim": {"claimName": "hub"}}
    assert "did you mean persistentVolumeClaim?" in refusal_of(tmp_path, {}, modelCache=misspelled)


def test_the_example_has_a_template() -> None:
    gpu = runtimes.load_runtimes(ROOT / "docs" / "examples" / "runtimes.yaml").named("gpu")
    assert gpu is not None
    assert gpu.pod_template.spec.runtime_class_name == "nvidia"


def test_users_and_groups_may_be_left_to_the_cluster() -> None:
    security = {"runAsUser": None, "fsGroup": None}
    found = on({"security": security})["securityContext"]
    assert found == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
