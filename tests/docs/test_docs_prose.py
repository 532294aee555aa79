"""The pages are readable: no paragraph is long, and the files that they name exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from repository import ROOT

MOST_WORDS = 90
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("local/**/*.md")])
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
#: A table's line, which holds cells and no paragraph.
_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_ITEM = re.compile(r"^ *(?:[-*]|\d+\.) ", re.MULTILINE)
_FILE = re.compile(r"`(?:[\w.-]+/)*[\w-]+\.(?:py|sh|yaml|toml)`")


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a page, and the items of its lists."""
    for block in re.split(r"\n\s*\n", _ROW.sub("", _CODE.sub("", text))):
        yield from _ITEM.split(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_paragraph_is_long(page: Path) -> None:
    counted = ((len(each.split()), " ".join(each.split())[:60]) for each in paragraphs(page.read_text("utf-8")))
    assert [(words, begins) for words, begins in counted if words > MOST_WORDS] == []


def test_architecture_names_files_that_are_there() -> None:
    """A bare name is that of any file, a path leads to its end."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    named = {each.strip("`") for each in _FILE.findall((ROOT / "docs/architecture.md").read_text("utf-8"))}
    assert sorted(name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in tracked)) == []
