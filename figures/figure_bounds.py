"""The bound of each figure, and its target. A change that makes a figure worse than its bound fails `make figures`."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from decision_figures import Pass
from shape_figures import function_lines, imported_by_one_sibling, largest_folder, unique_percent
from source_modules import Module


@dataclass(frozen=True)
class House:
    """Everything that the figures are counted from."""

    #: By the folder of each of the three packages.
    packages: Mapping[str, tuple[Module, ...]]
    #: The last decision of each story.
    passes: tuple[Pass, ...]
    #: Modules that one clip enters.
    clip: frozenset[str]

    @property
    def modules(self) -> tuple[Module, ...]:
        """The modules of all packages."""
        return tuple(module for modules in self.packages.values() for module in modules)


@dataclass(frozen=True)
class Figure:
    """A figure with its bound and its target. Less is better, unless the figure says otherwise."""

    name: str
    #: The bound. It follows what is reached, until that is the target.
    allowed: float
    target: float
    count: Callable[[House], float]
    more_is_better: bool = False

    def allows(self, value: float) -> bool:
        """Return whether a value is no worse than what is allowed."""
        return value >= self.allowed if self.more_is_better else value <= self.allowed


MOST_FUNCTION_LINES = 40

FIGURES = (
    Figure("lines of the longest module", 350, 350, lambda house: max(each.lines for each in house.modules)),
    Figure("lines of the longest function", 40, MOST_FUNCTION_LINES, lambda house: max(function_lines(house.modules))),
    Figure("modules in the largest folder", 12, 12, lambda house: largest_folder(house.modules)[1]),
    Figure(
        "modules that one sibling alone imports, in a hundred", 10, 10,
        lambda house: 100 * len(imported_by_one_sibling(house.modules)) / len(house.modules),
    ),
    Figure(
        "public functions whose name no other module of the package has, in a hundred", 90, 90,
        lambda house: unique_percent(house.packages.values()), more_is_better=True,
    ),
    Figure(
        "modules that one decision enters, at the median of all stories", 12, 12,
        lambda house: statistics.median(len(each.modules) for each in house.passes),
    ),
    Figure("modules that one clip enters, from its manifest to the first step", 25, 25, lambda house: len(house.clip)),
    Figure("parses of one pod in a decision", 1, 1, lambda house: max(each.pod_parses for each in house.passes)),
    Figure(
        "parses of one termination message in a decision", 1, 1,
        lambda house: max(each.message_parses for each in house.passes),
    ),
)  # fmt: skip


def table(values: Mapping[Figure, float]) -> str:
    """Return a table of the figures with their bounds and targets."""
    rows = [("", "is", "allowed", "target")]
    rows += [(each.name, *map(_text, (value, each.allowed, each.target))) for each, value in values.items()]
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{name:{width}}" + "".join(f"{cell:>9}" for cell in cells) for name, *cells in rows)


def broken(values: Mapping[Figure, float]) -> Iterable[Figure]:
    """Return the figures that are worse than their bounds."""
    return [each for each, value in values.items() if not each.allows(value)]


def _text(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
