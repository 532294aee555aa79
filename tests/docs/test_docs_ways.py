"""The drawings of docs/architecture.md name functions and modules that exist."""

import ast
import re
from collections.abc import Iterator

import pytest

from repository import ROOT

PACKAGES = ("crds/whisper_finetune_api", "operator/whisper_finetune_operator", "trainer/whisper_finetune_trainer")
#: The beginning of a line in a drawing: a module or a class, and what is done there.
STATION = re.compile(r"^  (\w+)\.(\w+)  ", re.MULTILINE)


def stations() -> list[tuple[str, str]]:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    drawings = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [(holder, name) for drawing in drawings for holder, name in STATION.findall(drawing)]


def names_in(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.name
        elif isinstance(statement, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in statement.names)
        elif isinstance(statement, ast.Assign):
            yield from (target.id for target in statement.targets if isinstance(target, ast.Name))


def known() -> set[tuple[str, str]]:
    """Return each module or class of the packages with each name that it has."""
    found = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        module = path.parent.name if path.name == "__init__.py" else path.stem
        found |= {(module, name) for name in names_in(tree.body)}
        for each in tree.body:
            if isinstance(each, ast.ClassDef):
                found |= {(each.name, name) for name in names_in(each.body)}
    return found


@pytest.fixture(scope="module")
def known_names() -> set[tuple[str, str]]:
    return known()


@pytest.mark.parametrize("station", stations(), ids=".".join)
def test_what_a_drawing_names_is_there(station: tuple[str, str], known_names: set[tuple[str, str]]) -> None:
    assert station in known_names
