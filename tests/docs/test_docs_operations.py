"""docs/operations.md says what an admin does about each alert and each reason that a run may show."""

import re
import typing

import yaml

from repository import ROOT
from whisper_finetune_api.causes import CAUSES, Reason
from whisper_finetune_api.v1alpha1.status import State
from whisper_finetune_operator.next_steps import NOT_ACCEPTED, PhaseReason

ALERTS = ROOT / "charts" / "whisper-finetune-operator" / "files" / "alerts.yaml"
#: Less than this is no advice.
FEWEST_WORDS = 8


def advice_below(title: str) -> dict[str, str]:
    """Return the text of each heading of a part of the page."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    part = page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^### (\w+)\n\n(.*?)(?=^### |\Z)", part, re.MULTILINE | re.DOTALL))


def names_in(literal: object) -> list[str]:
    """Return the words of a Literal, or of a union of some."""
    return [word for each in typing.get_args(literal) for word in (names_in(each) or [each])]


def check(advice: dict[str, str], wanted: list[str]) -> None:
    assert list(advice) == wanted
    assert [name for name, text in advice.items() if len(text.split()) < FEWEST_WORDS] == []


def test_each_alert_has_its_advice_and_its_runbook() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    check(advice_below("Alerts"), [rule["alert"] for rule in rules])
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_each_cause_has_its_advice() -> None:
    assert sorted(names_in(Reason)) == sorted(cause.reason for cause in CAUSES)
    check(advice_below("Causes"), [cause.reason for cause in CAUSES])


def test_every_other_word_of_the_column_reason_is_explained() -> None:
    others = [each for each in names_in(PhaseReason) if each not in (*names_in(State), *names_in(Reason))]
    check(advice_below("Other words of the column REASON"), [*others, NOT_ACCEPTED])
