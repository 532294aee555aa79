"""Write what the chart takes from the code: the schema of runtimes and settings, and the kinds of workload.

usage: PYTHONPATH=crds:operator python charts/generate.py
"""
# ruff: noqa: INP001 (a program beside the chart, in no package)

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from pydantic.alias_generators import to_camel

from whisper_finetune_operator.planning import quantities
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.settings import Settings
from whisper_finetune_operator.workloads import kinds
from whisper_finetune_operator.workloads.workload_kind import WorkloadKind

CHART = Path(__file__).parent / "whisper-finetune-operator"
SCHEMA = CHART / "values.schema.json"
KINDS = CHART / "files" / "kinds.yaml"
_ORIGIN = "# Generated from operator/whisper_finetune_operator/workloads/kinds.py by `make generate`.\n"
#: The Deployment names this port itself.
FIXED_SETTINGS = ("health_port",)


def values_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with the parts that the operator's own types say; the rest is written by hand."""
    by_hand = schema["properties"]
    settings = {**by_hand["settings"], "properties": settings_schema()}
    roles = {**by_hand["rbac"], "properties": roles_schema(by_hand["rbac"]["properties"])}
    return {**schema, "properties": {**by_hand, "settings": settings, "rbac": roles}, "$defs": runtimes_schema()}


def settings_schema() -> dict[str, Any]:
    numbers = (field for field in fields(Settings) if type(field.default) in (int, float))
    return {
        to_camel(field.name): {
            "type": "integer" if type(field.default) is int else "number",
            "exclusiveMinimum": 0,
            "description": f"Default {field.default:g}.",
        }
        for field in numbers
        if field.name not in FIXED_SETTINGS
    }


def roles_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `rbac`, with one for each kind of workload that not every cluster knows."""
    kept = {f"keep{kind.name}s": _keeps_rights(kind) for kind in kinds.added()}
    return {**{name: field for name, field in schema.items() if not name.startswith("keep")}, **kept}


def _keeps_rights(kind: WorkloadKind) -> dict[str, Any]:
    made = f"the rights to {kind.name}s after the last runtime that made some was taken out"
    return {"type": "boolean", "description": f"Keep {made}, until its runs are over."}


def kinds_of_chart(known: Iterable[WorkloadKind]) -> dict[str, Any]:
    """Return what the templates ask of each kind of workload, by its name."""
    return {
        "default": kinds.DEFAULT.name,
        "kinds": {
            kind.name: {
                "group": kind.group,
                "resource": kind.plural,
                "podTemplate": kind.pod_template_path,
                "builtIn": kind.controller is None,
                "sharesHostNetwork": kind.shares_host_network,
            }
            for kind in known
        },
    }


def runtimes_schema() -> dict[str, Any]:
    rendered: dict[str, Any] = _for_values(Runtimes.model_json_schema(by_alias=True)["$defs"])
    return rendered


def _for_values(node: Any) -> Any:
    """Drop the titles, which repeat the names, and let a quantity be written as a number."""
    if isinstance(node, list):
        return [_for_values(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _for_values(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    return {**kept, "type": ["string", "number"]} if kept.get("pattern") == quantities.PATTERN else kept


if __name__ == "__main__":
    schema = values_schema(json.loads(SCHEMA.read_text(encoding="utf-8")))
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
    KINDS.write_text(_ORIGIN + yaml.safe_dump(kinds_of_chart(kinds.KINDS.values()), sort_keys=False), encoding="utf-8")
