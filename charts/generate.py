"""Write what values.schema.json takes from the code: the schema of runtimes and settings.

usage: PYTHONPATH=crds:operator python charts/generate.py
"""
# ruff: noqa: INP001 (a program beside the chart, in no package)

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from whisper_finetune_operator.planning import quantities
from whisper_finetune_operator.planning.runtimes import Runtimes
from whisper_finetune_operator.settings import Settings

SCHEMA = Path(__file__).parent / "whisper-finetune-operator" / "values.schema.json"
#: The Deployment names this port itself.
FIXED_SETTINGS = ("health_port",)


def values_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with the parts that the operator's own types say; the rest is written by hand."""
    settings = {**schema["properties"]["settings"], "properties": settings_schema()}
    return {**schema, "properties": {**schema["properties"], "settings": settings}, "$defs": runtimes_schema()}


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
