"""The report in a real browser: no error, no network, sound that plays, both colour schemes, a phone, and paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

import finished_trainings
import tones
from demo.result import browser, picture, screenshots
from whisper_finetune_trainer.report import report_data, report_files

pytestmark = pytest.mark.browser

SCRIPT = "uno <script>document.title = 'it ran'</script> <img src='http://127.0.0.1:9/x' onerror='document.title = 1'>"
#: WCAG's bound for text, level AA.
LEAST_CONTRAST = 4.5
#: What every element with words of its own has as contrast to the nearest colour behind it, with the words.
CONTRASTS = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).slice(0, 3).map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((channels(color)[3] ?? 1) > 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3);
    const words = texts.map((node) => node.data.trim()).join("");
    if (!words || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const color = element instanceof SVGElement ? style.fill : style.color;
    const [high, low] = [luminance(color), luminance(behind(element))].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), words]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    missing = browser.why_not()
    if missing:
        pytest.skip(missing)
    with browser.opened() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report with the sound of each clip that is shown, one of them with a script for its text."""
    folder = tmp_path_factory.mktemp("report")
    data = report_data.gather_report(finished_trainings.make(texts=(SCRIPT,), heard=("sei",)))
    clips = [change.clip for change in data.changes.shown_in_turn()]
    sounds = report_files.data_uris(clips, lambda clip: tones.tone(1, clip.seconds))
    path = folder / "report.html"
    path.write_text(report_files.render_page(data, sounds), encoding="utf-8")
    return path


def show(chromium: Browser, report: Path, scheme: Literal["light", "dark"] = "light", width: int = 1200) -> Page:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(report.as_uri())
    return page


def test_it_says_nothing_to_the_console_and_asks_nothing_of_the_network(chromium: Browser, report: Path) -> None:
    page = chromium.new_page()
    said: list[ConsoleMessage] = []
    asked: list[Request] = []
    page.on("console", lambda message: said.append(message))  # noqa: PLW0108 -- Playwright marks what it is given
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.on("request", lambda request: asked.append(request))  # noqa: PLW0108 -- the same
    page.goto(report.as_uri(), wait_until="networkidle")
    assert [message.text for message in said] == []
    assert [request.url for request in asked if not request.url.startswith("data:")] == [report.as_uri()]


def test_a_script_among_the_texts_is_shown_and_does_not_run(chromium: Browser, report: Path) -> None:
    page = show(chromium, report)
    assert page.title() == "speech/demo: word error rate before and after"
    assert page.locator("script, img, iframe").count() == 0
    assert page.get_by_text("<script>document.title").count() == 1


def test_the_policy_keeps_out_even_what_was_not_escaped(chromium: Browser, report: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text(report.read_text(encoding="utf-8").replace("</main>", f"{SCRIPT}</main>"), encoding="utf-8")
    page = chromium.new_page()
    failed: list[Request] = []
    said: list[str] = []
    page.on("requestfinished", lambda request: failed.append(request) if request.url.startswith("http") else None)
    page.on("console", lambda message: said.append(message.text))
    page.goto(broken.as_uri(), wait_until="networkidle")
    assert page.locator("script").count() == 1
    assert page.title() == "speech/demo: word error rate before and after"
    assert failed == []
    assert sum("Content Security Policy" in text for text in said) >= 2


def test_each_clip_that_is_shown_can_be_played(chromium: Browser, report: Path) -> None:
    page = show(chromium, report)
    sounds = page.locator("audio")
    assert sounds.count() == page.locator("article.clip").count() > 8
    page.wait_for_function("[...document.querySelectorAll('audio')].every((sound) => sound.duration > 0)")
    lengths = sounds.evaluate_all("sounds => sounds.map((sound) => sound.duration)")
    shown = [float(text.split()[0]) for text in page.locator("article.clip .seconds").all_inner_texts()]
    assert lengths == pytest.approx(shown, abs=0.2)
    assert sounds.first.evaluate("async (sound) => { sound.muted = true; await sound.play(); return !sound.paused; }")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_told_from_what_is_behind_it(
    chromium: Browser, report: Path, scheme: Literal["light", "dark"]
) -> None:
    page = show(chromium, report, scheme)
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 300
    assert [(round(contrast, 2), words) for contrast, words in contrasts if contrast < LEAST_CONTRAST] == []
    red, green, blue = map(
        int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]
    )
    assert (red + green + blue > 600) == (scheme == "light")


@pytest.mark.parametrize("width", [320, 390, 768, 1920])
def test_nothing_is_wider_than_the_screen(chromium: Browser, report: Path, width: int) -> None:
    page = show(chromium, report, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_is_white_in_the_dark_and_has_all_that_was_folded(chromium: Browser, report: Path) -> None:
    page = show(chromium, report, "dark")
    assert not page.locator("details table").is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert not page.locator("audio").first.is_visible()
    assert page.locator("details table").evaluate("table => table.getBoundingClientRect().height") > 50


def test_the_pictures_for_the_docs_are_made(chromium: Browser, report: Path, tmp_path: Path) -> None:
    written = screenshots.take(chromium, report, tmp_path)
    assert [path.name for path in written] == [
        "report.png", "report-dark.png", "report-whole.png", "report-phone.png", "report.pdf"
    ]  # fmt: skip
    assert all(path.stat().st_size > 20_000 for path in written)


def test_its_head_is_a_picture_without_clips_that_a_page_can_show(
    chromium: Browser, report: Path, tmp_path: Path
) -> None:
    drawn = tmp_path / "report.svg"
    drawn.write_text(picture.head_of(report, chromium), encoding="utf-8")
    text = drawn.read_text(encoding="utf-8")
    assert "word error rate, normalized, over" in text.lower()
    assert "<audio" not in text
    assert "document.title" not in text
    page = chromium.new_page()
    (tmp_path / "page.html").write_text('<img src="report.svg">', encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("img").evaluate("(image) => image.complete && image.naturalWidth") == picture.WIDTH
