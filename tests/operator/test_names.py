"""The child's name: short, a DNS label, and another one for each UID."""

import re

import pytest

from whisper_finetune_operator.runs import child_name

UID = "7a0c9a4e-6f0b-4c59-9d1f-0d6a3f6d8c11"


@pytest.mark.parametrize(
    ("name", "child"),
    [
        ("italian", "italian-e16c90bd"),
        ("a" * 52, f"{'a' * 27}-e16c90bd"),
        ("v1.2-italian", "v1-2-italian-e16c90bd"),
        (f"{'a' * 26}-cut-at-the-hyphen", f"{'a' * 26}-e16c90bd"),
    ],
)
def test_child_name_is_the_runs_cut_and_a_hash(name: str, child: str) -> None:
    assert child_name(name, UID) == child


def test_child_name_is_a_dns_label_that_the_ipu_operator_takes() -> None:
    for length in range(1, 53):
        child = child_name("a.b-" * 13 + "c" if length == 52 else "x" * length, UID)
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", child)
        assert len(child) <= 36


def test_a_run_made_again_under_its_name_has_another_child() -> None:
    assert child_name("italian", UID) != child_name("italian", UID.replace("7", "8"))
