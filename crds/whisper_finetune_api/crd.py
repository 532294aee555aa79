"""Render the CustomResourceDefinition from the types: python -m whisper_finetune_api.crd FILE..."""

import re
import sys
from pathlib import Path
from typing import Any, Dict, Type

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from whisper_finetune_api import v1alpha1
from whisper_finetune_api.v1alpha1.api_model import cel_rule
from whisper_finetune_api.v1alpha1.rules import OBJECT_RULES, RULES

#: Go's parser reads an unquoted 1e-5 as a number, and PyYAML as text.
_NUMBER_IN_GO = re.compile(r"[-+]?[0-9][0-9.]*[eE][-+]?[0-9]+")
_HEADER = "# Generated from whisper_finetune_api.v1alpha1; run `make generate`.\n"
_COLUMNS = (
    ("Model", "string", ".spec.model", 0),
    ("Lang", "string", ".spec.language", 0),
    ("IPUs", "integer", ".status.ipus", 0),
    ("State", "string", ".status.state", 0),
    ("Reason", "string", ".status.reason", 0),
    ("Progress", "string", ".status.progress.summary", 0),
    ("Metric", "string", ".status.metric.name", 0),
    ("Baseline", "string", ".status.baseline.score", 0),
    ("Result", "string", ".status.result.score", 0),
    ("Verdict", "string", ".status.verdict", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Accepted", "string", '.status.conditions[?(@.type=="Accepted")].status', 1),
    ("Percent", "integer", ".status.progress.percent", 1),
    ("Runtime", "string", ".status.runtime", 1),
    ("Output", "string", ".status.model.uri", 1),
)


class StructuralSchema(GenerateJsonSchema):
    """Generates JSON Schema as a CRD takes it: without null types and titles."""

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        """Return the schema of the value: an optional field is absent and never null."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """Return the schema with its default.

        None and an empty list mean that the field is absent. An object's default is empty, and its fields' defaults
        fill it.
        """
        rendered = super().default_schema(schema)
        if rendered.get("default", 0) in (None, []):
            del rendered["default"]
        elif isinstance(rendered.get("default"), dict):
            rendered["default"] = {}
        return rendered

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (the base class names it)
        """Return False: titles repeat the field's name."""
        return False


def structural_schema(model: Type[BaseModel]) -> Dict[str, Any]:
    """Return a model's schema with all references written out and without what a CRD refuses."""
    schema = model.model_json_schema(by_alias=True, schema_generator=StructuralSchema)
    definitions = schema.pop("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = definitions[node["$ref"].rsplit("/", 1)[1]]
            return inline({**target, **{key: value for key, value in node.items() if key != "$ref"}})
        # `properties` has fields by their names, and one may be called title.
        return {key: _fields(value, inline) if key == "properties" else inline(value) for key, value in _kept(node)}

    rendered: Dict[str, Any] = inline(schema)
    return rendered


def _fields(properties: Dict[str, Any], inline: Any) -> Dict[str, Any]:
    return {name: inline(value) for name, value in properties.items()}


def _kept(node: Dict[str, Any]) -> Any:
    return ((key, value) for key, value in node.items() if key not in ("title", "additionalProperties"))


def custom_resource_definition() -> Dict[str, Any]:
    """Return the whole object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{v1alpha1.PLURAL}.{v1alpha1.GROUP}"},
        "spec": {
            "group": v1alpha1.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": v1alpha1.KIND,
                "listKind": f"{v1alpha1.KIND}List",
                "plural": v1alpha1.PLURAL,
                "singular": v1alpha1.KIND.lower(),
                "shortNames": ["wft"],
                "categories": ["ai"],
            },
            "versions": [_version()],
        },
    }


def _spec_schema() -> Dict[str, Any]:
    """Return the schema of the spec with each rule at the part that it is about."""
    schema = structural_schema(v1alpha1.WhisperFineTuneSpec)
    for spec_rule in RULES:
        part = schema
        for field in spec_rule.part:
            part = part["properties"][field]
        part.setdefault("x-kubernetes-validations", []).append(cel_rule(spec_rule.cel, spec_rule.message))
    return schema


def _version() -> Dict[str, Any]:
    status = {**structural_schema(v1alpha1.WhisperFineTuneStatus), "default": {"observedGeneration": -1}}
    return {
        "name": v1alpha1.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {})}
            for name, kind, path, priority in _COLUMNS
        ],
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": "One fine-tuning run of a Whisper model. A new run needs a new object.",
                "required": ["spec"],
                "x-kubernetes-validations": OBJECT_RULES,
                "properties": {
                    "apiVersion": {
                        "type": "string",
                        "maxLength": 253,
                        "description": f"{v1alpha1.GROUP}/{v1alpha1.VERSION}",
                    },
                    "kind": {"type": "string", "maxLength": 63, "description": v1alpha1.KIND},
                    # The API server describes metadata itself, and refuses a CRD that does.
                    "metadata": {"type": "object"},
                    "spec": _spec_schema(),
                    "status": status,
                },
            }
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes YAML without anchors, although one object may be in several places."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (the base class names it)
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = '"' if _NUMBER_IN_GO.fullmatch(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def render_crd() -> str:
    """Return the CRD as YAML."""
    text: str = yaml.dump(custom_resource_definition(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return _HEADER + text


if __name__ == "__main__":
    for path in sys.argv[1:]:
        Path(path).write_text(render_crd(), encoding="utf-8")
