"""Geometry of the report's charts, in units of an SVG that is as wide as a phone's screen. Pure."""

import math
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

WIDTH = 360.0
Point = Tuple[float, float]
#: Steps of an axis that people can read: powers of ten times one of these.
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Tick:
    """A value on an axis: where it stands, and how it reads."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A line through points, as SVG's path data; `style` is a class of the page's style sheet."""

    style: str
    path: str


@dataclass(frozen=True)
class Mark:
    """A dot on a chart, and what is shown when it is pointed at."""

    x: float
    y: float
    style: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A line chart; `description` says in words what is to be seen, for those who cannot see it."""

    name: str
    title: str
    description: str
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: Tuple[Tick, ...]
    y_ticks: Tuple[Tick, ...]
    lines: Tuple[Line, ...]
    marks: Tuple[Mark, ...]
    #: A level line with its words, such as the baseline.
    level: Optional[Tick]


@dataclass(frozen=True)
class Scale:
    """Turns values from `low` to `high` into places from `first` to `last`."""

    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        """Return the place of a value, to a tenth of a unit."""
        return round(self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first), 1)


def ticks(high: float, most: int = 5) -> Tuple[float, ...]:
    """Return at most `most` + 1 round values from 0 up to the first one that is not below `high`."""
    reach = high if high > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(reach / most))
    step = next(factor * power for factor in _ROUND if factor * power * most >= reach * (1 - 1e-9))
    count = math.ceil(reach / step - 1e-9)
    return tuple(number * step for number in range(count + 1))


def label(value: float) -> str:
    """Return a value of an axis in as few characters as it takes."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")


def path(points: Sequence[Point]) -> str:
    """Return the path data of a line through points."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def smoothed(points: Sequence[Point], share: float = 0.05) -> Tuple[Point, ...]:
    """Return each point's mean with `share` of all points around it; fewer at the ends, as many on either side."""
    reach = round(len(points) * share / 2)
    return tuple((x, _mean(points, place, reach)) for place, (x, _) in enumerate(points))


def _mean(points: Sequence[Point], place: int, reach: int) -> float:
    near = min(reach, place, len(points) - 1 - place)
    chosen = points[place - near : place + near + 1]
    return sum(y for _, y in chosen) / len(chosen)


def thinned(points: Sequence[Point], most: int) -> Tuple[Point, ...]:
    """Return at most `most` points: each the mean of as many neighbours; the last one stays the end of the line."""
    together = math.ceil(len(points) / most) if points else 1
    parts = (points[first : first + together] for first in range(0, len(points), together))
    return tuple((part[-1][0], sum(y for _, y in part) / len(part)) for part in parts)
