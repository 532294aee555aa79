"""The figures count what they say: in a small package with known figures, and in one story."""

from pathlib import Path

import pytest

import call_tracing
import clip_figures
import decision_figures
import figure_bounds
import shape_figures
import source_modules
from figure_bounds import FIGURES, Figure
from run_scenarios import SCENARIOS, tell
from source_modules import Module, read_modules

PACKAGE = {
    "__init__.py": '"""A package."""\n',
    "entry.py": "from whole.rooms import door, table\nimport whole.cellar\n\n\ndef start():\n    return door\n",
    "cellar.py": "def start():\n    def inner():\n        return 1\n\n    return inner\n\n\nclass _Hidden: ...\n",
    "rooms/__init__.py": '"""Rooms.\n\nThis one\nsays\nmore\n."""\n',
    "rooms/door.py": "from whole.rooms.hinge import Hinge\n\n\ndef open_door(): ...\n",
    "rooms/hinge.py": "class Hinge: ...\n\n\ndef _turn(): ...\n",
    "rooms/table.py": "from whole.rooms import hinge_of_table\n",
    "rooms/hinge_of_table.py": "def lay_table(): ...\n",
}


@pytest.fixture
def modules(tmp_path: Path) -> tuple[Module, ...]:
    for name, text in PACKAGE.items():
        path = tmp_path / "whole" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_modules(tmp_path / "whole")


def test_a_folders_own_file_counts_where_it_says_more_than_what_the_folder_is(modules: tuple[Module, ...]) -> None:
    assert [module.name for module in modules] == [
        "whole.cellar",
        "whole.entry",
        "whole.rooms",
        "whole.rooms.door",
        "whole.rooms.hinge",
        "whole.rooms.hinge_of_table",
        "whole.rooms.table",
    ]
    assert shape_figures.largest_folder(modules) == ("whole.rooms", 5)


def test_functions_within_functions_count_as_their_own(modules: tuple[Module, ...]) -> None:
    assert sorted(shape_figures.function_lines(modules)) == [1, 1, 1, 2, 2, 5]


def test_long_functions_are_named_with_their_lines(modules: tuple[Module, ...]) -> None:
    assert shape_figures.long_functions(modules, 2) == ["whole.cellar.start (5)"]


def test_who_has_one_sibling_alone_is_named_and_who_is_imported_from_elsewhere_is_not(
    modules: tuple[Module, ...],
) -> None:
    alone = shape_figures.imported_by_one_sibling(modules)
    assert alone == ["whole.cellar", "whole.rooms.hinge", "whole.rooms.hinge_of_table"]


def test_a_public_function_counts_once_for_each_module_that_has_its_name(modules: tuple[Module, ...]) -> None:
    assert shape_figures.shared_names(modules) == {"start": 2}
    assert shape_figures.unique_percent([modules]) == 50
    assert shape_figures.unique_percent([modules, modules]) == 50


@pytest.mark.parametrize(("values", "bound"), [([1], 1), ([1, 2, 3], 3), (range(1, 11), 10), (range(1, 101), 91)])
def test_nine_of_ten_are_no_more(values: list[int], bound: int) -> None:
    assert shape_figures.nine_of_ten(values) == bound


def test_a_figure_that_is_worse_than_allowed_is_named() -> None:
    less = Figure("less", allowed=3, target=2, count=lambda _: 0)
    more = Figure("more", allowed=3, target=4, count=lambda _: 0, more_is_better=True)
    assert figure_bounds.broken({less: 3, more: 3}) == []
    assert figure_bounds.broken({less: 3.1, more: 2.9}) == [less, more]
    assert figure_bounds.table({less: 3.14, more: 3}).splitlines()[1:] == [
        "less      3.1        3        2",
        "more        3        3        4",
    ]


def test_what_is_allowed_is_no_better_than_the_target() -> None:
    assert [figure.name for figure in FIGURES if not figure.allows(figure.target)] == []


def test_own_modules_count_and_calls_are_kept_with_their_arguments() -> None:
    def called(first: int, second: int) -> int:
        return first + second + len(source_modules.PACKAGES)

    seen = call_tracing.trace(lambda: [called(1, second=2), read_modules(Path("none"))], [called.__code__])
    assert seen.calls == [(called.__code__, (1, 2))]
    assert seen.modules == frozenset()


def test_a_decision_parses_a_pod_and_its_last_words_once() -> None:
    world, _ = tell(SCENARIOS["result, with its Job"].moments)[-1]
    found = decision_figures.pass_of("result", world)
    assert (found.pod_parses, found.message_parses) == (1, 1)
    assert "operator/deciding/decisions" in found.modules


@pytest.mark.slow
def test_one_clip_enters_what_reads_it_and_what_trains_on_it() -> None:
    found = clip_figures.modules_of_one_clip()
    assert {"trainer/data/dataset", "trainer/pytorch/backend"} <= found
