"""The report's page: all of it, compared with a golden one, and what untrusted texts can do in it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

import finished_trainings
from golden_files import check_golden_text
from whisper_finetune_api.v1alpha1.acceptance import Judgement
from whisper_finetune_trainer.report import report_data, report_files
from whisper_finetune_trainer.report.report_data import FinishedTraining

SCRIPT = "<script>document.title = 'it ran'</script>"
IMAGE = '"><img src=x onerror="document.title = 1">'
SOUND = {"clips/000.wav": "data:audio/mpeg;base64,AAAA"}


class Page(HTMLParser):
    """Every element of a page with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def render(finished: FinishedTraining) -> str:
    return report_files.render_page(report_data.gather_report(finished), SOUND)


def test_the_page_is_the_golden_one() -> None:
    rendered = render(finished_trainings.make(clips=9))
    # Looks may change without a change of what is said.
    found = re.sub(
        r"(?s)<style>.*</style>", "<style></style>", re.sub(r"'sha256-[^']*'|&#39;sha256-.*?&#39;", "", rendered)
    )
    check_golden_text("report.html", found)


def test_a_model_that_is_not_accepted_is_called_so_beside_its_figures() -> None:
    finished = finished_trainings.make(clips=9)
    refused = Judgement(accepted=False, reason="NotBetter", message="the verdict is NotShown")
    result = finished.result.model_copy(update={"acceptance": refused})
    assert "Not accepted: the verdict is NotShown." in Page(render(dataclasses.replace(finished, result=result))).words


def in_a_text(text: str) -> FinishedTraining:
    return finished_trainings.make(clips=9, texts=(f"uno {text} due", "tre"), heard=("sei", text))


def in_a_clip_name(text: str) -> FinishedTraining:
    finished = in_a_text("due")
    first, *others = finished.clips.evaluation
    renamed = dataclasses.replace(first, identifier=text)
    return dataclasses.replace(finished, clips=dataclasses.replace(finished.clips, evaluation=(renamed, *others)))


def in_a_drop(text: str) -> FinishedTraining:
    finished = in_a_text("due")
    clips = dataclasses.replace(finished.clips, dropped={text: 1}, examples=(text,))
    return dataclasses.replace(finished, clips=clips)


def in_the_hardware(text: str) -> FinishedTraining:
    finished = in_a_text("due")
    assert finished.result.ran_on is not None
    ran_on = finished.result.ran_on.model_copy(update={"hardware": text, "software": text})
    return dataclasses.replace(finished, result=finished.result.model_copy(update={"ran_on": ran_on}))


def in_the_specification(text: str) -> FinishedTraining:
    finished = in_a_text("due")
    dataset = finished.run.spec.dataset.model_copy(update={"config": text, "text_column": text})
    spec = finished.run.spec.model_copy(update={"dataset": dataset, "model": text})
    return dataclasses.replace(finished, run=dataclasses.replace(finished.run, spec=spec, name=text))


@pytest.mark.parametrize("untrusted", [SCRIPT, IMAGE], ids=["script", "attribute"])
@pytest.mark.parametrize("place", [in_a_text, in_a_clip_name, in_a_drop, in_the_hardware, in_the_specification])
def test_no_text_becomes_an_element(place: Callable[[str], FinishedTraining], untrusted: str) -> None:
    page = Page(render(place(untrusted)))
    assert page.all("script", "img", "iframe", "object", "embed", "form", "base") == []
    assert [name for _, attributes in page.elements for name in attributes if name.startswith("on")] == []
    # It is shown, not lost; a text is shown normalized as well.
    assert untrusted in "".join(page.words)


def test_nothing_is_fetched() -> None:
    page = Page(render(finished_trainings.make(clips=9)))
    addresses = [
        str(value)
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "poster", "action", "xlink:href")
    ]
    assert addresses
    assert [address for address in addresses if not address.startswith(("#", "data:"))] == []
    (policy,) = [item["content"] for item in page.all("meta") if item.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy).startswith("default-src 'none'; style-src 'sha256-")


def test_the_page_can_be_read_without_seeing_it() -> None:
    page = Page(render(finished_trainings.make()))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(levels[place] - levels[place - 1] for place in range(1, len(levels))) == 1
    assert all(item.get("role") == "img" and item.get("aria-label") for item in page.all("svg"))
    assert all(item.get("scope") in ("col", "row") for item in page.all("th"))
    assert all(item.get("aria-label") and "controls" in item for item in page.all("audio"))
    identifiers = [value for _, attributes in page.elements for name, value in attributes.items() if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    named = {value for _, attributes in page.elements for key, value in attributes.items() if key == "aria-labelledby"}
    assert named <= set(identifiers)
    assert {item["href"] for item in page.all("a")} <= {f"#{identifier}" for identifier in identifiers}


def test_only_clips_that_fit_have_a_sound() -> None:
    finished = finished_trainings.make(clips=9, texts=("uno due tre",), heard=("sei sette otto",))
    assert len(Page(render(finished)).all("audio")) <= 1
    shown = report_data.gather_report(finished).changes.shown_in_turn()
    sounds = {change.clip.identifier: "data:audio/mpeg;base64,AAAA" for change in shown}
    page = Page(report_files.render_page(report_data.gather_report(finished), sounds))
    assert len(page.all("audio")) == len(shown)


def test_loops_are_named_and_their_figures_stand_beside() -> None:
    loop = "uno due tre " * 60
    finished = finished_trainings.make(clips=9, texts=("uno due tre",), heard=(loop,))
    data = report_data.gather_report(finished)
    words = Page(render(finished)).words
    text = " ".join("".join(words).split())
    assert "Loops, texts that never end or repeat their end: 1 before, 0 after." in text
    assert loop[:120] in words
    assert [row.name for row in data.figures][-2:] == [
        "Normalized, clips that never loop (8 clips)",
        "Normalized, if all of the loops counted",
    ]
    # All three words are missed, and none is added.
    assert data.headline is not None
    assert float(data.figures[-1].before) > data.headline.before.percent + 100
    assert "Loops" not in "".join(Page(render(finished_trainings.make(clips=9))).words)


def test_the_curve_of_a_choice_is_named_after_its_clips() -> None:
    finished = finished_trainings.make()
    assert "validation clips" not in "".join(Page(render(finished)).words)
    chosen = tuple(dataclasses.replace(each, part="Validation") for each in finished.measured)
    clips = dataclasses.replace(finished.clips, validation=finished.clips.evaluation[:20])
    text = "".join(Page(render(dataclasses.replace(finished, measured=chosen, clips=clips))).words)
    assert "Word error rate of the validation clips after each evaluation" in text
    assert "validation clips, not trained on and not those of the result" in text


def test_speech_without_any_difference_has_a_report_too() -> None:
    finished = finished_trainings.make(clips=9)
    same = dataclasses.replace(finished, final=finished.baseline, measured=(finished.baseline,), stretches=())
    text = "".join(Page(render(same)).words)
    assert "No clip gained." in text
    assert "No clip lost." in text
    assert "No difference." in text
