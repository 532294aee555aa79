"""Write pictures of a run's report. They are never committed.

usage: python tests/trainer/report_screenshots.py REPORT.html FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser

import browser


@dataclass(frozen=True)
class Look:
    """A way to look at a page: width and height in CSS pixels; no height: all of it."""

    name: str
    width: int
    height: int | None
    scheme: Literal["light", "dark"]


LOOKS = (
    Look("report", 1200, 1110, "light"),
    Look("report-dark", 1200, 1110, "dark"),
    Look("report-whole", 1200, None, "light"),
    Look("report-phone", 390, None, "light"),
)


def take(chromium: Browser, report: Path, folder: Path) -> list[Path]:
    """Write one PNG for each look, and the printed pages as PDF; return the files."""
    return [*(_picture(chromium, report, folder, look) for look in LOOKS), _print(chromium, report, folder)]


def _picture(chromium: Browser, report: Path, folder: Path, look: Look) -> Path:
    page = chromium.new_page(
        viewport={"width": look.width, "height": look.height or 900}, color_scheme=look.scheme, device_scale_factor=1
    )
    page.goto(report.resolve().as_uri())
    written = folder / f"{look.name}.png"
    page.screenshot(path=written, full_page=look.height is None)
    page.close()
    return written


def _print(chromium: Browser, report: Path, folder: Path) -> Path:
    page = chromium.new_page()
    page.goto(report.resolve().as_uri())
    written = folder / "report.pdf"
    page.pdf(path=written, format="A4")
    page.close()
    return written


def main(report: Path, folder: Path) -> None:
    """Take all pictures of a report."""
    missing = browser.why_not()
    if missing:
        sys.exit(missing)
    folder.mkdir(parents=True, exist_ok=True)
    with browser.opened() as chromium:
        for path in take(chromium, report, folder):
            print(path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
