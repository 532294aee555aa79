"""`picture`: the head of the demo's own report for the docs, as an SVG, which is text that can be compared."""

from pathlib import Path

from playwright.sync_api import Browser

from demo.faults import DemoError
from demo.result import browser, finished
from demo.scenarios import Scenario
from images.recipes import REPOSITORY

WRITTEN = REPOSITORY / "docs" / "pictures" / "report.svg"
WIDTH = 1000
#: What is shown: the title, the result and the curves.
TAKE = """(width) => {
  document.querySelectorAll("main > :not(#result, #training), nav, .skip, footer").forEach((node) => node.remove());
  document.querySelectorAll("meta, link, title").forEach((node) => node.remove());
  const height = Math.ceil(document.documentElement.getBoundingClientRect().height);
  const page = new XMLSerializer().serializeToString(document.documentElement);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`
    + `<foreignObject width="100%" height="100%">${page}</foreignObject></svg>`;
}"""


def write(cluster: str, scenario: Scenario) -> Path:
    """Write the picture of the finished run's report. Raises DemoError without a run, a report or a browser."""
    run = finished.find(cluster, scenario)
    if not run.report:
        raise DemoError(f"the run {scenario.run_name} has no report")
    if missing := browser.why_not():
        raise DemoError(missing)
    WRITTEN.parent.mkdir(exist_ok=True)
    with browser.opened() as chromium:
        WRITTEN.write_text(head_of(run.path(run.report), chromium), encoding="utf-8")
    return WRITTEN


def head_of(report: Path, chromium: Browser) -> str:
    """Return the head of a report as an SVG that needs no other file, and follows the reader's light or dark scheme."""
    page = chromium.new_page(viewport={"width": WIDTH, "height": 900})
    page.goto(report.resolve().as_uri())
    drawn: str = page.evaluate(TAKE, WIDTH)
    page.close()
    return "\n".join(line.rstrip() for line in drawn.splitlines() if line.strip()) + "\n"
