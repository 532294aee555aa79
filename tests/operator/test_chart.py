"""The chart: what it renders, what it refuses, and the rights it gives on a real API server."""

import dataclasses
import json
import re
import runpy
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kubernetes import client

from chart_release import CHART, NAMESPACE, RELEASE, Objects, helm, render
from cluster.programs import binaries
from golden_files import check_golden_objects
from repository import ROOT
from third_kind import TRAINING
from whisper_finetune_api.v1alpha1 import UID_LABEL
from whisper_finetune_operator.api import preflight
from whisper_finetune_operator.api.preflight import Right
from whisper_finetune_operator.planning import runtimes
from whisper_finetune_operator.settings import read_settings
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.kinds import KINDS

CRD = "whisperfinetunes.whisperfinetune.dev"
WATCHED = "speech-team"
PARTITIONS = "ipus"
DIGEST = "sha256:" + "0123456789abcdef" * 4
EVERYTHING = {
    "watchNamespace": WATCHED,
    "partitionNamespace": PARTITIONS,
    "operatorClass": "night",
    "takeOver": ["former/whisper"],
    "crds": {"enabled": False},
    "image": {"digest": DIGEST},
    "rbac": {"aggregateToUserRoles": True, "keepIPUJobs": False},
    "serviceAccount": {"annotations": {"example.com/role": "none"}},
    "settings": {"workers": 7, "leaseSeconds": 7.5},
    # The other parts are of kinds that a cluster need not know.
    "metrics": {"dashboard": {"enabled": True, "labels": {"grafana_dashboard": "1"}, "annotations": {"a": "b"}}},
    "networkPolicy": {"enabled": True, "apiServerCIDRs": ["10.0.0.1/32"], "metricsFrom": [{"namespaceSelector": {}}]},
    "trainerNetworkPolicy": {
        "namespaces": [WATCHED],
        "deniedCIDRs": ["169.254.169.254/32", "fd00:ec2::254/128"],
        "metricsFrom": [{"namespaceSelector": {}}],
    },
    "admissionPolicies": {"operator": True, "runs": {"enabled": True, "required": False}},
    "imagePullSecrets": [{"name": "registry"}],
    "podAnnotations": {"example.com/a": "b"},
    "podLabels": {"example.com/c": "d"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "infra", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-cluster-critical",
    "defaultRuntime": None,
    "runtimes": [
        {
            "name": "pod16",
            "accelerator": "ipu",
            "image": "trainer-ipu:1",
            "partitions": {"apiHost": "10.5.1.1", "apiPort": 8090, "pool": [{"id": "p4a", "ipus": 4}]},
            "resources": {"limits": {"cpu": 2, "memory": "6Gi"}},
        }
    ],
}
"""A value for every field."""
LOOK_LIKE_OTHER_TYPES = {
    "fullnameOverride": "true",
    "nameOverride": "on",
    "image": {"tag": "1.10"},
    "imagePullSecrets": [{"name": "0x1f"}],
    "serviceAccount": {"name": "123", "annotations": {"a": "1e3\n      hostNetwork: true"}},
    "watchNamespace": "456",
    "partitionNamespace": "0",
    "priorityClassName": "null",
    "podLabels": {"a": "yes"},
    "podAnnotations": {"a": 'say "no"\n      hostPID: true'},
    "nodeSelector": {"a": "12"},
    "networkPolicy": {"enabled": True},
}
"""Strings that YAML reads as something else where they stand without quotes."""


def refusal_of(values: dict[str, Any]) -> str:
    refused = helm("template", RELEASE, str(CHART), values=values)
    assert refused.returncode != 0
    return refused.stderr


def free_texts(node: dict[str, Any], place: str = "") -> Iterator[str]:
    """Where the schema takes a text of several lines, which no name is; `*` stands for any key."""
    node = {**node, **{key: value for part in node.get("allOf", []) for key, value in part.items()}}
    if "$ref" in node:
        node = json.loads((CHART / "values.schema.json").read_text())["definitions"][node["$ref"].rpartition("/")[2]]
    if (
        "string" in node.get("type", "")
        and "enum" not in node
        and re.search(node.get("pattern", ""), "a\n  hostPID: true")
    ):
        yield place
    for key, below in node.get("properties", {}).items():
        if below is not False:
            yield from free_texts(below, f"{place}.{key}")
    for below in [node.get("items"), node.get("additionalProperties"), *node.get("patternProperties", {}).values()]:
        if isinstance(below, dict):
            yield from free_texts(below, f"{place}.*")


def patterns(schema: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """Each field of an object's schema that has a pattern."""
    if "pattern" in schema:
        yield place, schema["pattern"]
    for name, below in schema.get("properties", {}).items():
        yield from patterns(below.get("items", below), f"{place}.{name}")


def scalars(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of rendered objects by its place, and each key as one."""
    if isinstance(node, dict):
        for key, below in node.items():
            yield f"{place}.{key} (key)", key
            yield from scalars(below, f"{place}.{key}")
    elif isinstance(node, list):
        for below in node:
            yield from scalars(below, place)
    else:
        yield place, node


def rights_of(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Each verb on each resource of each group."""
    return {
        (verb, group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def as_written(right: Right) -> tuple[str, str, str]:
    resource = f"{right.resource.plural}/{right.part}" if right.part else right.resource.plural
    return right.verb, right.resource.version.rpartition("/")[0], resource


class TestSources:
    """What can be said without helm."""

    def test_schema_and_kinds_are_up_to_date(self) -> None:
        generated = CHART / "values.schema.json", CHART / "files" / "kinds.yaml"
        before = [path.read_text() for path in generated]
        subprocess.run(
            [sys.executable, "charts/generate.py"], cwd=ROOT, check=True, env={"PYTHONPATH": "crds:operator"}
        )
        after = [path.read_text() for path in generated]
        for path, text in zip(generated, before, strict=True):
            path.write_text(text)
        assert after == before, "run `make generate`"

    def test_templates_name_no_kind_of_workload(self) -> None:
        words = {word for kind in KINDS.values() for word in (f'"{kind.name}"', kind.group, kind.pod_template_path)}
        for template in (CHART / "templates").iterdir():
            assert not [word for word in words if word in template.read_text()], template

    def test_crd_is_the_projects(self) -> None:
        crd = CHART / "files" / "whisperfinetunes.yaml"
        assert crd.read_bytes() == (ROOT / "crds" / "whisperfinetunes.yaml").read_bytes()

    def test_versions_agree(self) -> None:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        assert (chart["version"], chart["appVersion"]) == (version, version)
        assert [runtime["image"] for runtime in values["runtimes"]] == [f"whisper-finetune-trainer:{version}"]

    def test_schema_knows_every_value_and_says_what_it_is(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text())
        jsonschema.Draft7Validator.check_schema(schema)
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        jsonschema.validate(values, schema)
        assert set(schema["properties"]) == {*values, "global"}
        assert all(field["description"] for field in schema["properties"].values())

    def test_no_value_but_those_of_annotations_can_bring_lines_of_its_own(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text())
        schema["properties"].pop("runtimes")  # they become one text of the ConfigMap, which the operator reads
        found = set(free_texts(schema))
        annotations = {".podAnnotations.*", ".serviceAccount.annotations.*", ".metrics.dashboard.annotations.*"}
        assert found == {*annotations, ".defaultRuntime"}

    @pytest.mark.parametrize(
        "values",
        [
            {"watchNamespace": "UPPER_case"},
            {"partitionNamespace": "-a"},
            {"fullnameOverride": "a.b"},
            {"priorityClassName": "a b"},
            {"image": {"repository": 'a" b'}},
            {"image": {"repository": "registry.example.com/a:1"}},
            {"image": {"repository": "registry.example.com/a@sha256"}},
            {"image": {"repository": ""}},
            {"image": {"tag": "a/b"}},
            {"image": {"digest": "sha256:0123"}},
            {"podLabels": {"app.kubernetes.io/name": "another"}},
            {"podLabels": {"whisperfinetune.dev/run-uid": "a run's"}},
            {"podLabels": {"a": "b c"}},
            {"podLabels": {"a b": "c"}},
            {"metrics": {"rules": {"labels": {"a": "b c"}}}},
            {"metrics": {"dashboard": {"labels": {"helm.sh/chart": "another"}}}},
            {"podAnnotations": {"checksum/kinds": "0"}},
            {"serviceAccount": {"annotations": {"meta.helm.sh/release-name": "another"}}},
            {"tolerations": [{"key": "a", "hostNetwork": True}]},
            {"affinity": {"hostNetwork": {}}},
            {"resources": {"limits": {"memory": "lots"}}},
        ],
        ids=str,
    )
    def test_the_schema_refuses_what_kubernetes_would(self, values: dict[str, Any]) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text())
        whole = {**yaml.safe_load((CHART / "values.yaml").read_text()), **values}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(whole, schema)

    @pytest.mark.parametrize(
        "repository",
        ["a", "localhost/a", "localhost:5000/a", "r.example.com/a/b_c/d-e.f", "[::1]:5000/a", "10.0.0.1/a"],
    )
    def test_the_schema_takes_every_form_of_a_repository(self, repository: str) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["image"]["properties"]
        jsonschema.validate(repository, schema["repository"])

    def test_the_policy_of_runs_looks_at_every_address_that_a_run_can_have(self) -> None:
        crd = yaml.safe_load((ROOT / "crds" / "whisperfinetunes.yaml").read_text())
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        addresses = {
            path for path, pattern in patterns(schema, "object.spec") if re.search(pattern, "pvc://claim/path")
        }
        policy = (CHART / "templates" / "runs-policy.yaml").read_text()
        [sources] = re.findall(r"name: sources\n    expression: \"(.+)\"", policy)
        of_each = {f"{many}.{field}" for many, field in re.findall(r"([\w.]+)\.map\(each, each\.(\w+)\)", sources)}
        [looked_at] = re.findall(r"^\[([^]]+)\]", sources)
        assert addresses == {*looked_at.split(", "), *of_each, "object.spec.output.uri"}

    def test_an_admins_runtimes_file_is_a_values_file(self) -> None:
        schema = json.loads((CHART / "values.schema.json").read_text())
        jsonschema.validate(yaml.safe_load((ROOT / "docs" / "examples" / "runtimes.yaml").read_text()), schema)

    def test_values_with_everything_name_every_setting_that_the_templates_read(self) -> None:
        text = "".join(file.read_text() for file in (CHART / "templates").iterdir())
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        assert set(re.findall(r"\.Values\.(\w+)", text)) == set(values)


@pytest.mark.apiserver
class TestRendering:
    def test_lint_finds_nothing(self) -> None:
        linted = helm("lint", "--strict", str(CHART))
        assert linted.returncode == 0, linted.stdout

    def test_defaults_render_the_golden_chart(self) -> None:
        rendered = render()
        crd = rendered.pop(("CustomResourceDefinition", CRD))
        check_golden_objects("chart.yaml", *rendered.values())
        source = yaml.safe_load((ROOT / "crds" / "whisperfinetunes.yaml").read_text())
        assert crd["spec"] == source["spec"]
        assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}

    def test_rendering_is_the_same_each_time(self) -> None:
        texts = {helm("template", RELEASE, str(CHART), values=EVERYTHING).stdout for _ in range(2)}
        assert len(texts) == 1

    def test_crd_may_go_with_the_chart_or_be_left_out(self) -> None:
        crd = ("CustomResourceDefinition", CRD)
        assert "annotations" not in render({"crds": {"keep": False}})[crd]["metadata"]
        assert crd not in render({"crds": {"enabled": False}})

    def test_operator_gets_the_rights_that_it_asks_for_at_its_start_and_no_more(self) -> None:
        rendered = render()
        everywhere = rights_of(rendered["ClusterRole", RELEASE])
        at_home = rights_of(rendered["Role", f"{RELEASE}-lease"])
        asked = preflight.needed_rights(None, NAMESPACE, NAMESPACE)
        only_a_name = ("update", "whisperfinetune.dev", "whisperfinetunes/finalizers")
        # Without this one, or without Kueue, runs wait all the same, in words of the operator's own.
        kueues_words = ("list", "kueue.x-k8s.io", "workloads")
        beyond = {only_a_name, kueues_words}
        assert everywhere == {as_written(right) for right in asked if right.namespace is None} | beyond
        assert at_home == {as_written(right) for right in asked if right.namespace == NAMESPACE}

    @pytest.mark.parametrize("keep", [False, True], ids=["made", "left"])
    def test_ipu_jobs_need_rights_that_others_do_not_get(self, *, keep: bool) -> None:
        offered = [{"name": "eidf", "accelerator": "ipu", "image": "trainer-ipu:1", "workload": "IPUJob"}]
        made = {"defaultRuntime": None, "runtimes": offered}
        rendered = render({"rbac": {"keepIPUJobs": True}} if keep else made)
        asked = preflight.needed_rights(None, NAMESPACE, NAMESPACE, added=kinds.added())
        plain = set(preflight.needed_rights(None, NAMESPACE, NAMESPACE))
        more = {as_written(right) for right in asked if right not in plain}
        assert {resource for _, _, resource in more} == {"ipujobs"}
        assert more == rights_of(rendered["ClusterRole", RELEASE]) - rights_of(render()["ClusterRole", RELEASE])

    def test_a_further_kind_needs_no_template_of_its_own(self, tmp_path: Path) -> None:
        generate = runpy.run_path(str(ROOT / "charts" / "generate.py"))
        chart = shutil.copytree(CHART, tmp_path / "chart")
        known = generate["kinds_of_chart"]((*KINDS.values(), dataclasses.replace(TRAINING, shares_host_network=True)))
        (chart / "files" / "kinds.yaml").write_text(yaml.safe_dump(known))
        (chart / "values.schema.json").unlink()
        offered = [{"name": "third", "accelerator": "cpu", "image": "trainer:1", "workload": TRAINING.name}]
        further = {"networkPolicy": {"enabled": True}, "admissionPolicies": {"operator": True}}
        rendered = render({**further, "defaultRuntime": None, "runtimes": offered}, chart=chart)
        right = "create", TRAINING.group, TRAINING.plural
        assert right in rights_of(rendered["ClusterRole", RELEASE])
        assert right not in rights_of(render(further, chart=chart)["ClusterRole", RELEASE])
        assert right in rights_of(render({"rbac": {"keepTrainings": True}}, chart=chart)["ClusterRole", RELEASE])
        policy = rendered["ValidatingAdmissionPolicy", f"{RELEASE}-{NAMESPACE}-operator-{TRAINING.plural}"]
        (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
        assert (rule["apiGroups"], rule["resources"]) == ([TRAINING.group], [TRAINING.plural])
        told = {each["name"]: each["expression"] for each in policy["spec"]["variables"]}
        assert "object.spec.template.spec.containers" in told["containers"]
        ports = [
            port for rule in rendered["NetworkPolicy", RELEASE]["spec"]["egress"] for port in rule.get("ports", ())
        ]
        assert {"port": 8080, "endPort": 9079} in ports

    def test_the_leases_of_partitions_may_lie_elsewhere(self) -> None:
        rendered = render({"partitionNamespace": PARTITIONS})
        role = rendered["Role", f"{RELEASE}-{NAMESPACE}-partitions"]
        asked = preflight.needed_rights(None, NAMESPACE, PARTITIONS)
        assert role["metadata"]["namespace"] == PARTITIONS
        assert rights_of(role) == {as_written(right) for right in asked if right.namespace == PARTITIONS}
        at_home = {as_written(right) for right in asked if right.namespace == NAMESPACE}
        assert rights_of(rendered["Role", f"{RELEASE}-lease"]) == at_home
        assert ("RoleBinding", f"{RELEASE}-{NAMESPACE}-partitions") in rendered
        assert read_settings(container(rendered)["args"], {}).partition_namespace == PARTITIONS
        same = render({"partitionNamespace": NAMESPACE})
        assert rights_of(same["Role", f"{RELEASE}-lease"]) == rights_of(render()["Role", f"{RELEASE}-lease"])

    def test_trainers_of_a_namespace_are_reached_by_the_operator_alone_and_reach_no_metadata(self) -> None:
        policy = render({"trainerNetworkPolicy": {"namespaces": [WATCHED]}})[
            "NetworkPolicy", f"{RELEASE}-{NAMESPACE}-trainers"
        ]
        assert policy["metadata"]["namespace"] == WATCHED
        selected = policy["spec"]["podSelector"]["matchExpressions"]
        assert selected == [{"key": UID_LABEL, "operator": "Exists"}]
        ((peer,),) = [rule["from"] for rule in policy["spec"]["ingress"]]
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
        operators = render()["Deployment", RELEASE]["spec"]["selector"]["matchLabels"]
        assert peer["podSelector"]["matchLabels"] == operators
        (reached,) = [rule["to"] for rule in policy["spec"]["egress"]]
        _, four, six = reached
        assert four["ipBlock"]["cidr"] == "0.0.0.0/0"
        assert "169.254.169.254/32" in four["ipBlock"]["except"]
        assert six["ipBlock"] == {"cidr": "::/0", "except": ["fd00:ec2::254/128", "fd00:ec2::23/128"]}

    def test_trainers_in_their_hosts_network_are_reached_too(self) -> None:
        offered = yaml.safe_load((ROOT / "docs" / "examples" / "runtimes.yaml").read_text())
        rendered = render({**offered, "networkPolicy": {"enabled": True}})
        egress = rendered["NetworkPolicy", RELEASE]["spec"]["egress"]
        of_pool, of_ipu_jobs = ({"ports": [{"port": 8080, "endPort": last}]} for last in (8082, 9079))
        assert of_pool in egress
        assert of_ipu_jobs in egress

    def test_one_watched_namespace_needs_no_right_in_the_cluster(self) -> None:
        rendered = render(EVERYTHING | {"admissionPolicies": {}})
        assert not [kind for kind, _ in rendered if kind.startswith(("Cluster", "Validating"))]
        assert rendered["Role", RELEASE]["metadata"]["namespace"] == WATCHED
        assert rendered["RoleBinding", RELEASE]["metadata"]["namespace"] == WATCHED
        assert rights_of(rendered["Role", RELEASE]) == rights_of(render()["ClusterRole", RELEASE])
        assert f"--namespace={WATCHED}" in container(rendered)["args"]

    def test_a_watched_namespace_has_roles_for_its_users_to_be_bound(self) -> None:
        rendered, everywhere = render({"watchNamespace": WATCHED}), render()
        for what in ("view", "edit"):
            role = rendered["Role", f"{RELEASE}-{what}"]
            assert role["metadata"]["namespace"] == WATCHED
            assert rights_of(role) == rights_of(everywhere["ClusterRole", f"{RELEASE}-{what}"])
            assert not [label for label in role["metadata"]["labels"] if "aggregate" in label]

    def test_names_stay_texts_and_add_nothing(self) -> None:
        rendered = render(LOOK_LIKE_OTHER_TYPES)
        assert set(rendered) == {(kind, name.replace(RELEASE, "true")) for kind, name in render(
            {"watchNamespace": "456", "partitionNamespace": "0", "networkPolicy": {"enabled": True}}
        ) if kind != "ServiceAccount"} | {("ServiceAccount", "123")}  # fmt: skip
        found = [(place, value) for each in rendered.values() for place, value in scalars(each)]
        texts = re.compile(
            r"\.(name|namespace|priorityClassName|serviceAccountName|image)$|labels\.|annotations\.|nodeSelector\."
        )
        assert [(place, value) for place, value in found if texts.search(place) and not isinstance(value, str)] == []
        assert not [place for place, _ in found if place.endswith((".hostPID", ".hostNetwork"))]

    def test_a_digest_takes_the_place_of_the_tag(self) -> None:
        assert container(render({"image": {"tag": "2", "digest": DIGEST}}))["image"] == f"{RELEASE}@{DIGEST}"
        assert container(render({"image": {"tag": "2"}}))["image"] == f"{RELEASE}:2"

    def test_large_numbers_stay_whole(self, tmp_path: Path) -> None:
        offered = [{"name": "a", "accelerator": "cpu", "image": "a:1", "security": {"runAsUser": 1000660000}}]
        rendered = render({"defaultRuntime": None, "runtimes": offered, "settings": {"workers": 2000000}})
        file = tmp_path / "runtimes.yaml"
        file.write_text(rendered["ConfigMap", f"{RELEASE}-runtimes"]["data"]["runtimes.yaml"])
        assert runtimes.load_runtimes(file).runtimes[0].security.run_as_user == 1000660000
        environment = {each["name"]: each.get("value", "") for each in container(rendered)["env"]}
        assert read_settings(container(rendered)["args"], environment).workers == 2000000

    @pytest.mark.parametrize("release", ["my.release", "a" * 53])
    def test_a_service_has_a_name_that_it_may_have(self, release: str) -> None:
        (name,) = [name for kind, name in render(release=release) if kind == "Service"]
        assert re.fullmatch(r"[a-z][-a-z0-9]{0,61}[a-z0-9]", name)

    def test_a_service_cannot_begin_with_a_number(self) -> None:
        refused = helm("template", "9", str(CHART))
        assert "the name 9-whisper-finetune-operator must begin with a letter" in refused.stderr

    def test_what_is_taken_out_is_off(self) -> None:
        taken = ("crds", "rbac", "metrics", "networkPolicy", "resources", "affinity", "nodeSelector", "tolerations")
        kinds = {kind for kind, _ in render(dict.fromkeys(taken))}
        assert kinds == {"ConfigMap", "Deployment", "PodDisruptionBudget", "ServiceAccount"}

    def test_runtimes_and_settings_are_such_as_the_operator_takes(self, tmp_path: Path) -> None:
        rendered = render(EVERYTHING)
        file = tmp_path / "runtimes.yaml"
        file.write_text(rendered["ConfigMap", f"{RELEASE}-runtimes"]["data"]["runtimes.yaml"])
        offered = runtimes.load_runtimes(file)
        assert [runtime.name for runtime in offered.runtimes] == ["pod16"]
        assert offered.runtimes[0].resources.limits == {"cpu": "2", "memory": "6Gi"}
        operator = container(rendered)
        environment = {each["name"]: each.get("value", "from the pod") for each in operator["env"]}
        settings = read_settings(operator["args"], environment)
        assert (settings.workers, settings.lease_seconds) == (7, 7.5)
        assert (settings.namespace, settings.lease_name) == (WATCHED, RELEASE)

    def test_the_default_runtimes_are_such_as_the_operator_takes(self, tmp_path: Path) -> None:
        file = tmp_path / "runtimes.yaml"
        file.write_text(render()["ConfigMap", f"{RELEASE}-runtimes"]["data"]["runtimes.yaml"])
        assert runtimes.load_runtimes(file).default_runtime == "cpu"

    def test_only_another_kind_of_workload_restarts_the_operator(self) -> None:
        cpu = {"name": "cpu", "accelerator": "cpu", "image": "another:1"}
        ipus = {"name": "eidf", "accelerator": "ipu", "image": "trainer:1", "workload": "IPUJob", "namespaces": ["a"]}
        assert pod_annotations(render({"runtimes": [cpu]})) == pod_annotations(render())
        assert pod_annotations(render({"runtimes": [cpu, ipus]})) != pod_annotations(render())
        assert pod_annotations(render({"logLevel": "DEBUG"})) == pod_annotations(render())

    @pytest.mark.parametrize(("user", "is_allowed"), [("0", True), ("null", False), ("1000", False)])
    def test_the_policy_lets_only_a_runtime_of_user_0_run_as_root(self, user: str, *, is_allowed: bool) -> None:
        runtime = {"name": "cpu", "accelerator": "cpu", "image": "trainer:1", "namespaces": ["a"]}
        offered = [{**runtime, "security": {"runAsUser": yaml.safe_load(user)}}]
        made = render({"runtimes": offered, "admissionPolicies": {"operator": True}})
        (policy,) = [each for (kind, _), each in made.items() if kind == "ValidatingAdmissionPolicy"]
        (rule,) = [each for each in policy["spec"]["validations"] if each["message"] == "no runtime runs as root"]
        assert ("variables.sameOrNoPod || true ||" in rule["expression"]) is is_allowed

    def test_a_single_replica_may_be_evicted(self) -> None:
        assert ("PodDisruptionBudget", RELEASE) in render()
        assert ("PodDisruptionBudget", RELEASE) not in render({"replicaCount": 1})

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            pytest.param({"replicaCont": 2}, "'replicaCont' not allowed", id="typo"),
            pytest.param({"image": {"tags": "1"}}, "'tags' not allowed", id="typo below"),
            pytest.param({"replicaCount": "two"}, "got string, want integer", id="type"),
            pytest.param({"settings": {"worker": 2}}, "'worker' not allowed", id="unknown setting"),
            pytest.param({"settings": {"workers": 0}}, "exclusiveMinimum", id="setting of nothing"),
            pytest.param({"settings": {"healthPort": 1}}, "'healthPort' not allowed", id="setting of the chart's own"),
            pytest.param({"runtimes": []}, "minItems", id="no runtime"),
            pytest.param({"runtimes": [{"name": "a"}]}, "missing properties", id="half a runtime"),
            pytest.param(
                {"runtimes": [{"name": "cpu", "accelerator": "gpu", "image": "a"}]},
                "value must be one of 'ipu', 'cuda', 'cpu'",
                id="unknown accelerator",
            ),
            pytest.param(
                {"defaultRuntime": "gpu"}, "defaultRuntime gpu is not one of runtimes: cpu", id="no such default"
            ),
            pytest.param({"image": None}, "image.repository is needed", id="no image"),
            pytest.param({"image": {"repository": None}}, "image.repository is needed", id="no repository"),
            pytest.param(
                {"image": {"repository": 'a"\n        securityContext: {privileged: true}'}},
                "at '/image/repository'",
                id="lines of its own",
            ),
            pytest.param(
                {"podLabels": {"app.kubernetes.io/name": "a"}},
                "at '/podLabels/app.kubernetes.io~1name'",
                id="the chart's own label",
            ),
            pytest.param({"serviceAccount": {"create": False}}, "serviceAccount.name is needed", id="no account"),
        ],
    )
    def test_a_mistake_is_refused_with_its_place(self, values: dict[str, Any], message: str) -> None:
        assert message in refusal_of(values)


def container(rendered: Objects) -> dict[str, Any]:
    (only,) = rendered["Deployment", RELEASE]["spec"]["template"]["spec"]["containers"]
    return dict(only)


def pod_annotations(rendered: Objects) -> dict[str, str]:
    return dict(rendered["Deployment", RELEASE]["spec"]["template"]["metadata"]["annotations"])


@dataclass(frozen=True)
class Server:
    """A real API server with the namespaces of the operator and of a team."""

    kubeconfig: Path
    api: client.ApiClient

    def helm(self, command: str, *arguments: str, values: dict[str, Any] | None = None) -> None:
        place = (f"--namespace={NAMESPACE}", f"--kubeconfig={self.kubeconfig}")
        ran = helm(command, *place, *arguments, values=values) if command != "uninstall" else self._uninstall(*place)
        assert ran.returncode == 0, ran.stderr

    def _uninstall(self, *place: str) -> subprocess.CompletedProcess[str]:
        command = [str(binaries.program("helm")), "uninstall", RELEASE, *place]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def kubectl(self, *arguments: str, text: str) -> subprocess.CompletedProcess[str]:
        command = [str(binaries.program("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(command, check=False, input=text, capture_output=True, text=True)

    def allows(self, user: str, verb: str, group: str, resource: str, namespace: str | None) -> bool:
        plural, _, part = resource.partition("/")
        attributes = client.V1ResourceAttributes(
            verb=verb, group=group, resource=plural, subresource=part or None, namespace=namespace
        )
        review = client.V1SubjectAccessReview(
            spec=client.V1SubjectAccessReviewSpec(user=user, resource_attributes=attributes)
        )
        answer = client.AuthorizationV1Api(self.api).create_subject_access_review(review)
        return bool(answer.status.allowed)


OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"


@pytest.fixture(scope="module")
def server(control_plane: Path, api: client.ApiClient, install_crd: None) -> Iterator[Server]:
    core = client.CoreV1Api(api)
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    for name in (NAMESPACE, WATCHED, PARTITIONS):
        core.create_namespace({"metadata": {"name": name, "labels": levels}})
    yield Server(control_plane, api)
    for name in (NAMESPACE, WATCHED, PARTITIONS):
        core.delete_namespace(name)


@pytest.fixture
def installed(server: Server) -> Iterator[Server]:
    server.helm("install", RELEASE, str(CHART), "--take-ownership")
    yield server
    server.helm("uninstall")


@pytest.mark.apiserver
class TestOnApiServer:
    @pytest.mark.parametrize(
        "values",
        [
            pytest.param({}, id="defaults"),
            pytest.param(EVERYTHING, id="everything"),
            pytest.param(
                {**LOOK_LIKE_OTHER_TYPES, "watchNamespace": WATCHED, "partitionNamespace": PARTITIONS}, id="names"
            ),
        ],
    )
    def test_every_object_is_valid_and_restricted(self, server: Server, values: dict[str, Any]) -> None:
        manifest = helm("template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", values=values).stdout
        applied = server.kubectl(
            "apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "--filename=-",
            text=manifest,
        )  # fmt: skip
        assert applied.returncode == 0, applied.stderr
        assert applied.stderr == "", "the API server warns"
        assert applied.stdout.count("serverside-applied") == len(render(values))

    def test_operator_may_do_its_work_and_nothing_else(self, installed: Server) -> None:
        for right in preflight.needed_rights(None, NAMESPACE, NAMESPACE):
            assert installed.allows(OPERATOR, *as_written(right), right.namespace), right
        for verb, group, resource, namespace in [
            ("get", "", "secrets", NAMESPACE),
            ("list", "", "configmaps", NAMESPACE),
            ("create", "", "pods", WATCHED),
            ("delete", "", "pods", WATCHED),
            ("get", "", "pods/log", WATCHED),
            ("create", "", "pods/exec", WATCHED),
            ("get", "", "nodes", None),
            ("update", "whisperfinetune.dev", "whisperfinetunes", WATCHED),
            ("patch", "whisperfinetune.dev", "whisperfinetunes", WATCHED),
            ("delete", "whisperfinetune.dev", "whisperfinetunes", WATCHED),
            ("get", "coordination.k8s.io", "leases", WATCHED),
            ("delete", "coordination.k8s.io", "leases", WATCHED),
            ("create", "rbac.authorization.k8s.io", "roles", NAMESPACE),
            ("list", "apiextensions.k8s.io", "customresourcedefinitions", None),
        ]:
            assert not installed.allows(OPERATOR, verb, group, resource, namespace), (verb, resource)

    def test_operator_of_one_namespace_may_do_nothing_elsewhere(self, server: Server) -> None:
        server.helm("install", RELEASE, str(CHART), values=EVERYTHING)
        rights = preflight.needed_rights(WATCHED, NAMESPACE, PARTITIONS)
        assert all(server.allows(OPERATOR, *as_written(right), right.namespace) for right in rights)
        elsewhere = preflight.needed_rights("default", None, "default") + preflight.needed_rights(None, None, WATCHED)
        assert not [right for right in elsewhere if server.allows(OPERATOR, *as_written(right), right.namespace)]
        server.helm("uninstall")

    def test_users_see_and_make_runs_by_the_roles_that_they_have(self, installed: Server) -> None:
        rbac = client.RbacAuthorizationV1Api(installed.api)
        for role in ("view", "edit", "admin"):
            rbac.create_namespaced_role_binding(WATCHED, {
                "metadata": {"name": role},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role}],
            })  # fmt: skip

        def may(user: str, verb: str, resource: str = "whisperfinetunes") -> bool:
            return installed.allows(user, verb, "whisperfinetune.dev", resource, WATCHED)

        wait_until(lambda: may("view", "watch") and may("edit", "create") and may("admin", "create"))
        assert all(may(user, verb) for user in ("edit", "admin") for verb in ("get", "patch", "delete"))
        assert not may("view", "create")
        assert not [user for user in ("view", "edit", "admin") if may(user, "patch", "whisperfinetunes/status")]
        # Its annotations say what its runs may name.
        assert not [user for user in ("edit", "admin") if installed.allows(user, "patch", "", "namespaces", WATCHED)]

    def test_uninstalling_leaves_the_runs(self, server: Server) -> None:
        server.helm("install", RELEASE, str(CHART), "--take-ownership")
        runs = client.CustomObjectsApi(server.api)
        place = ("whisperfinetune.dev", "v1alpha1", WATCHED, "whisperfinetunes")
        spec = {
            "model": "openai/whisper-small",
            "language": "ca",
            "dataset": {"source": "openslr/openslr", "config": "SLR69"},
            "output": {"uri": "s3://speech-models/catalan"},
        }
        runs.create_namespaced_custom_object(
            *place,
            {
                "apiVersion": "whisperfinetune.dev/v1alpha1",
                "kind": "WhisperFineTune",
                "metadata": {"name": "kept"},
                "spec": spec,
            },
        )
        server.helm("uninstall")
        definition = client.ApiextensionsV1Api(server.api).read_custom_resource_definition(CRD)
        assert definition.metadata.deletion_timestamp is None
        runs.get_namespaced_custom_object(*place, "kept")
        assert client.AppsV1Api(server.api).list_namespaced_deployment(NAMESPACE).items == []
        runs.delete_namespaced_custom_object(*place, "kept")


def wait_until(holds: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)
