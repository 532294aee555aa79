"""Reasons of phases: mypy knows them all, and the table says what each of them means."""

from typing import get_args

from whisper_finetune_api.causes import BY_REASON, Reason


def test_each_reason_that_the_types_know_stands_in_the_table_once() -> None:
    assert get_args(Reason) == tuple(BY_REASON)
