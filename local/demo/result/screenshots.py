"""`screenshots`: a report as pictures, for a closer view. They are never committed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser

from demo.faults import DemoError
from demo.result import browser


@dataclass(frozen=True)
class View:
    """How a page is shown: width and height in CSS pixels. Without a height it is shown whole."""

    name: str
    width: int
    height: int | None
    scheme: Literal["light", "dark"]


VIEWS = (
    View("report", 1200, 1110, "light"),
    View("report-dark", 1200, 1110, "dark"),
    View("report-whole", 1200, None, "light"),
    View("report-phone", 390, None, "light"),
)


def take(chromium: Browser, report: Path, folder: Path) -> list[Path]:
    """Write one PNG for each view, and the printed pages as PDF; return the files."""
    return [*(_picture(chromium, report, folder, view) for view in VIEWS), _print(chromium, report, folder)]


def _picture(chromium: Browser, report: Path, folder: Path, view: View) -> Path:
    page = chromium.new_page(
        viewport={"width": view.width, "height": view.height or 900}, color_scheme=view.scheme, device_scale_factor=1
    )
    page.goto(report.resolve().as_uri())
    written = folder / f"{view.name}.png"
    page.screenshot(path=written, full_page=view.height is None)
    page.close()
    return written


def _print(chromium: Browser, report: Path, folder: Path) -> Path:
    page = chromium.new_page()
    page.goto(report.resolve().as_uri())
    written = folder / "report.pdf"
    page.pdf(path=written, format="A4")
    page.close()
    return written


def write(report: Path, folder: Path) -> list[Path]:
    """Take all pictures of a report, in whatever folder it lies. Raises DemoError without a report or a browser."""
    if not report.is_file():
        raise DemoError(f"there is no report {report}")
    if missing := browser.why_not():
        raise DemoError(missing)
    folder.mkdir(parents=True, exist_ok=True)
    with browser.opened() as chromium:
        return take(chromium, report, folder)
