"""Every link in the docs leads to something that exists."""

import re
from pathlib import Path

import pytest

from repository import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("local/**/*.md")])
_LINK = re.compile(r"\]\(([^)#\s]+)")
#: A page, or nothing for the same one, and a heading there.
_ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if not link.startswith("http")]
    assert [link for link in links if not (page.parent / link).exists()] == []


def anchors_of(page: Path) -> set[str]:
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    found = [(page.parent / to if to else page, anchor) for to, anchor in _ANCHOR.findall(page.read_text("utf-8"))]
    pages = [(to, anchor) for to, anchor in found if to.suffix == ".md" and to.exists()]
    assert [(to.name, anchor) for to, anchor in pages if anchor not in anchors_of(to)] == []
