"""The generated CRD is up to date, and has nothing that a CRD must not have."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from repository import ROOT
from whisper_finetune_api import crd, v1alpha1
from whisper_finetune_api.v1alpha1.rules import MUTABLE_FIELDS, OPTIONAL_FIELDS, PRESENT_FIELDS

GENERATED = ROOT / "crds" / "whisperfinetunes.yaml"
PYTHON38 = ROOT / ".venv38" / "bin" / "python"

#: What apiextensions.k8s.io/v1 JSONSchemaProps takes, less what a structural schema forbids.
TAKEN = {
    "type", "description", "properties", "required", "items", "enum", "default", "pattern",
    "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum",
    "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
}  # fmt: skip


def schema_nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from schema_nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from schema_nodes(node["items"], f"{path}[]")


SCHEMA = crd.custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
NODES = list(schema_nodes(SCHEMA))


def test_generated_file_is_up_to_date() -> None:
    assert GENERATED.read_text(encoding="utf-8") == crd.render_crd(), "run `make generate`"


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON38.exists(), reason="no .venv38: no Python 3.8 on this machine")
def test_python38_renders_the_same(tmp_path: Path) -> None:
    rendered = tmp_path / "crd.yaml"
    subprocess.run(
        [PYTHON38, "-m", "whisper_finetune_api.crd", rendered], check=True, env={"PYTHONPATH": str(ROOT / "crds")}
    )
    assert rendered.read_text(encoding="utf-8") == GENERATED.read_text(encoding="utf-8")


@pytest.mark.parametrize(("path", "node"), NODES, ids=[path or "root" for path, _ in NODES])
def test_schema_holds_only_what_a_crd_takes(path: str, node: dict[str, Any]) -> None:
    assert set(node) <= TAKEN, path
    kind = node["type"]
    assert kind in {"object", "array", "string", "integer", "boolean"}, "the Kubernetes API has no floats"
    if kind == "string":
        assert "enum" in node or "maxLength" in node, f"{path} has no bound"
    if kind == "array":
        assert "x-kubernetes-list-type" in node, f"{path} has no list type"
        assert "maxItems" in node, f"{path} has no bound"
    if kind == "integer":
        assert "enum" in node or {"minimum", "maximum"} <= set(node), f"{path} has no bound"


def test_every_field_is_described() -> None:
    fields = [path for path, node in NODES if not path.endswith("[]") and not node.get("description")]
    assert fields == [".metadata"], "the API server describes that one, and refuses a CRD that does"


def test_every_field_of_the_spec_is_mutable_or_guarded() -> None:
    assert {*MUTABLE_FIELDS, *PRESENT_FIELDS, *OPTIONAL_FIELDS} == set(SCHEMA["properties"]["spec"]["properties"])


def test_a_new_object_counts_as_not_observed() -> None:
    assert SCHEMA["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_patterns_are_anchored() -> None:
    loose = [path for path, node in NODES if "pattern" in node and not re.fullmatch(r"\^.*\$", node["pattern"])]
    assert loose == []


def test_columns_read_fields_that_exist() -> None:
    fields = {path for path, _ in NODES} | {".metadata.creationTimestamp"}
    for column in crd.custom_resource_definition()["spec"]["versions"][0]["additionalPrinterColumns"]:
        path = re.sub(r"\[\?.*\]", "[]", column["jsonPath"])
        assert path in fields, column


def test_examples_are_valid() -> None:
    objects = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "docs/examples").glob("*.yaml"))
    ]
    runs = [found for found in objects if found.get("kind") == v1alpha1.KIND]
    assert runs
    for run in runs:
        v1alpha1.WhisperFineTuneSpec.model_validate(run["spec"])


def test_numbers_in_words_stay_words() -> None:
    # Go's YAML reads an unquoted 1e-5 as a number, which no default of a string may be.
    assert 'default: "1e-5"' in GENERATED.read_text(encoding="utf-8")
