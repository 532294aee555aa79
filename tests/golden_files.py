"""Whole objects and pages in tests/golden. Tests compare with them, and `make golden` writes them anew."""

from __future__ import annotations

import json
import os
from typing import Any

import yaml

from repository import ROOT

FOLDER = ROOT / "tests" / "golden"
RENEW = "RENEW_GOLDEN"
_IF_RIGHT = "if {} should be so, `make golden` writes it: read `git diff tests/golden` after it"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def check_golden_objects(name: str, *found: Any) -> None:
    """Compare JSON objects with a YAML file. With RENEW_GOLDEN=1, a file that says something else is written first.

    A file that says the same is left as it is, whatever the order of its keys.
    """
    plain = json.loads(json.dumps(found))  # without aliases of what stands in it twice
    if os.environ.get(RENEW) and _objects(name) != plain:
        text = yaml.dump_all(plain, Dumper=_Dumper, sort_keys=False)
        (FOLDER / name).write_text(text, encoding="utf-8")
    assert plain == _objects(name), _IF_RIGHT.format(name)


def check_golden_text(name: str, found: str) -> None:
    """Compare a text with a file, byte for byte. With RENEW_GOLDEN=1, the file is written first."""
    if os.environ.get(RENEW):
        (FOLDER / name).write_text(found, encoding="utf-8")
    assert found == _text(name), _IF_RIGHT.format(name)


def _text(name: str) -> str:
    path = FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _objects(name: str) -> list[Any]:
    return list(yaml.safe_load_all(_text(name)))
