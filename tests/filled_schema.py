"""An object with every field of a schema, each with a good value."""

from __future__ import annotations  # it is read by Python 3.8 too

import re
from typing import Any

#: Tried in this order for each pattern.
_SAMPLES = ("model", "1.00", "1.5", "ab" * 32, "2026-11-30T10:00:00Z", "Reason", "italian-0badcafe")


def filled(node: dict[str, Any], text: str) -> Any:
    """Return the object; free text is `text`, cut to its bound, numbers are the least, enums their first word."""
    if node["type"] == "object":
        return {name: filled(child, text) for name, child in node.get("properties", {}).items()}
    if node["type"] == "array":
        return [filled(node["items"], text)]
    return _text(node, text) if node["type"] == "string" else node.get("minimum", node["type"] == "boolean")


def _text(node: dict[str, Any], text: str) -> str:
    matching = (sample for sample in _SAMPLES if re.fullmatch(node.get("pattern", ""), sample))
    words: list[str] = node["enum"] if "enum" in node else [next(matching)] if "pattern" in node else [text]
    return words[0][: node.get("maxLength")]
