"""What is written for an older side: one of contract 0 gets no field that it does not know."""

import json
from typing import Annotated

import pytest
from pydantic import Field

from whisper_finetune_api import contract
from whisper_finetune_api.contract import CONTRACT, CONTRACT_ENV, LATER
from whisper_finetune_api.v1alpha1.api_model import ApiModel


class Part(ApiModel):
    old_field: int = 1
    new_word: Annotated[str, LATER] = "None"
    new_number: Annotated[int | None, LATER] = Field(None, ge=0)


class Whole(ApiModel):
    part: Part
    parts: tuple[Part, ...] = ()
    folders: dict[str, str] = {}  # noqa: RUF012 (pydantic copies it)
    absent: str | None = None


PLAIN = Whole(part=Part(), parts=(Part(), Part(old_field=2)), folders={"a": "/b"})
ASKED = Whole(part=Part(new_word="Some"), parts=(Part(new_number=0),))
OLD_PLAIN = {"part": {"oldField": 1}, "parts": [{"oldField": 1}, {"oldField": 2}], "folders": {"a": "/b"}}


def test_a_trainer_gets_a_later_field_only_where_it_is_set() -> None:
    assert json.loads(contract.config_json(PLAIN)) == OLD_PLAIN
    assert json.loads(contract.config_json(ASKED)) == {
        "part": {"oldField": 1, "newWord": "Some"},
        "parts": [{"oldField": 1, "newNumber": 0}],
        "folders": {},
    }


def test_an_operator_of_contract_0_gets_no_later_field_at_all() -> None:
    assert contract.answer_for_operator(PLAIN, 0) == OLD_PLAIN
    assert contract.answer_for_operator(ASKED, 0) == {
        "part": {"oldField": 1},
        "parts": [{"oldField": 1}],
        "folders": {},
    }


@pytest.mark.parametrize("whole", [PLAIN, ASKED], ids=["plain", "asked"])
def test_an_operator_with_a_number_gets_all_and_the_number(whole: Whole) -> None:
    assert contract.answer_for_operator(whole, CONTRACT) == {**whole.to_json_object(), "contract": CONTRACT}
    assert contract.answer_for_operator(whole, CONTRACT + 1)["contract"] == CONTRACT


@pytest.mark.parametrize(
    ("environment", "number"), [({}, 0), ({CONTRACT_ENV: "1"}, 1), ({CONTRACT_ENV: "12"}, 12), ({CONTRACT_ENV: "-"}, 0)]
)
def test_number_of_the_operator(environment: dict[str, str], number: int) -> None:
    assert contract.number_in_environment(environment) == number
