"""The report's line charts: loss, learning rate and score by step. Pure.

Coordinates are in units of an SVG that is as wide as the screen of a phone.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from whisper_finetune_trainer.checkpoints.step_record import Stretch

WIDTH = 360.0
Point = Tuple[float, float]
#: The distance between the ticks of an axis is a power of ten times one of these.
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
_HEIGHT = 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, WIDTH - 10.0, 14.0, 176.0
#: About one point per unit of the chart's width. Nobody could see more.
_MOST_POINTS = 300


@dataclass(frozen=True)
class Tick:
    """A value on an axis: its coordinate and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A line through points, as SVG's path data. `style` is a class of the page's style sheet."""

    style: str
    path: str


@dataclass(frozen=True)
class Dot:
    """A dot on a chart, and the text that is shown when somebody points at it."""

    x: float
    y: float
    style: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A line chart. `description` says in words what it shows, for people who cannot see it."""

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
    marks: Tuple[Dot, ...]
    #: A level line with its words, such as the baseline.
    level: Optional[Tick]
    x_label: str = "step"


@dataclass(frozen=True)
class Scale:
    """Turns values from `low` to `high` into coordinates from `first` to `last`."""

    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        """Return the coordinate of a value, rounded to a tenth of a unit."""
        return round(self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first), 1)


def axis_ticks(high: float, most: int = 5) -> Tuple[float, ...]:
    """Return round values for the ticks of an axis, from 0 to the first that is not below `high`.

    There are at most `most` + 1.
    """
    reach = high if high > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(reach / most))
    step = next(factor * power for factor in _ROUND if factor * power * most >= reach * (1 - 1e-9))
    count = math.ceil(reach / step - 1e-9)
    return tuple(number * step for number in range(count + 1))


def tick_label(value: float) -> str:
    """Return a value of an axis as a short text."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")


def path_data(points: Sequence[Point]) -> str:
    """Return the path data of a line through points."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def smoothed(points: Sequence[Point], share: float = 0.05) -> Tuple[Point, ...]:
    """Return the moving mean of the points. Each mean is over `share` of all points.

    Near the ends it is over fewer points, as many before as after.
    """
    reach = round(len(points) * share / 2)
    return tuple((x, _mean(points, index, reach)) for index, (x, _) in enumerate(points))


def _mean(points: Sequence[Point], index: int, reach: int) -> float:
    near = min(reach, index, len(points) - 1 - index)
    chosen = points[index - near : index + near + 1]
    return sum(y for _, y in chosen) / len(chosen)


def thinned(points: Sequence[Point], most: int) -> Tuple[Point, ...]:
    """Return at most `most` points, each the mean of as many neighbours. The last one is at the end of the line."""
    together = math.ceil(len(points) / most) if points else 1
    parts = (points[first : first + together] for first in range(0, len(points), together))
    return tuple((part[-1][0], sum(y for _, y in part) / len(part)) for part in parts)


@dataclass(frozen=True)
class MeasuredStep:
    """The score of the model after a step, in percent.

    `is_kept` says whether the user keeps that model, and `is_final` whether it becomes the final one.
    """

    step: int
    percent: float
    is_kept: bool
    is_final: bool


def loss_curve(stretches: Sequence[Stretch]) -> Chart:
    """Return the chart of the training loss: a faint line of the steps, and a strong one of their moving mean."""
    points = [(float(item.last_step), item.loss) for item in stretches]
    smooth = smoothed(points)
    described = "The training loss of each step"
    if points:
        described += f", about {smooth[0][1]:.3g} at first and {smooth[-1][1]:.3g} in the end (moving mean)."
    lines = (("faint", points), ("strong", smooth))
    return _chart("loss", "Training loss", described, _last_step(stretches), lines)


def learning_rate_curve(stretches: Sequence[Stretch]) -> Chart:
    """Return the chart of the learning rate."""
    points = [(float(item.last_step), item.learning_rate) for item in stretches]
    highest = max((rate for _, rate in points), default=0.0)
    described = f"The learning rate of each step; at its highest it was {highest:.3g}."
    return _chart("learning-rate", "Learning rate", described, _last_step(stretches), (("strong", points),))


def score_curve(
    baseline: float, measured: Sequence[MeasuredStep], last_step: int, name: str, unit: str = " %"
) -> Chart:
    """Return the chart of the score from step 0 on, with the baseline as a level line.

    `name` is that of the metric, `unit` stands behind its scores, and `last_step` is the end of the axis.
    """
    points = [(0.0, baseline), *((float(item.step), item.percent) for item in measured)]
    described = "; ".join(f"step {step:g}: {percent:.2f}{unit}" for step, percent in points)
    marks = [
        (float(item.step), item.percent, style, f"step {item.step}: {item.percent:.2f}{unit}, {words}")
        for item, (style, words) in ((item, _style_of(item)) for item in measured)
    ]
    level = Tick(_vertical(points).at(baseline), f"baseline {baseline:.2f}")
    title = f"{name},{unit}" if unit else name
    return _chart("error-rate", title, described, last_step, (("strong", points),), marks, level)


@dataclass(frozen=True)
class MixtureScore:
    """The score of weights that are `factor` of the way from those before training to those after it.

    Without a factor, they are the mean of the last checkpoints. `is_final` says whether they are taken.
    """

    factor: Optional[float]
    percent: float
    is_final: bool


def mixing_curve(mixtures: Sequence[MixtureScore], name: str, unit: str) -> Chart:
    """Return the chart of the score by the factor, with the mean of checkpoints as a level line."""
    points = [(mixture.factor, mixture.percent) for mixture in mixtures if mixture.factor is not None]
    means = [mixture for mixture in mixtures if mixture.factor is None]
    words = [(f"{factor:g}", percent) for factor, percent in points]
    words += [("the mean of checkpoints", mean.percent) for mean in means]
    described = "; ".join(f"{what}: {percent:.2f}{unit}" for what, percent in words)
    marks = [
        (mixture.factor, mixture.percent, style, f"{mixture.factor:g}: {mixture.percent:.2f}{unit}")
        for mixture, style in ((each, "final" if each.is_final else "measured") for each in mixtures)
        if mixture.factor is not None
    ]
    scores = [mixture.percent for mixture in mixtures]
    upright = _vertical([(0.0, score) for score in scores])
    level = Tick(upright.at(means[0].percent), f"mean {means[0].percent:.2f}") if means else None
    title = f"{name} of weights mixed from before (0) and after (1)"
    chart = _chart("mixing", title, described, 1.25, (("strong", points), ("faint", _levels(means))), marks, level)
    return dataclasses.replace(chart, x_label="factor")


def _levels(means: Sequence[MixtureScore]) -> Sequence[Point]:
    return [(factor, mean.percent) for mean in means for factor in (0.0, 1.25)]


def training_curves(
    baseline: float,
    measured: Sequence[MeasuredStep],
    stretches: Sequence[Stretch],
    name: str,
    unit: str,
    mixtures: Sequence[MixtureScore],
) -> Tuple[Chart, ...]:
    """Return all charts of a training. The arguments are those of each."""
    last_step = max([1, *(item.step for item in measured), *(item.last_step for item in stretches[-1:])])
    return (
        score_curve(baseline, measured, last_step, name, unit),
        *([mixing_curve(mixtures, name, unit)] if mixtures else []),
        loss_curve(stretches),
        learning_rate_curve(stretches),
    )


def _style_of(item: MeasuredStep) -> Tuple[str, str]:
    if item.is_final:
        return "final", "the final model"
    return ("kept", "a kept checkpoint") if item.is_kept else ("measured", "measured")


def _last_step(stretches: Sequence[Stretch]) -> int:
    return stretches[-1].last_step if stretches else 1


def _vertical(points: Sequence[Point]) -> Scale:
    return Scale(0.0, axis_ticks(max((y for _, y in points), default=1.0))[-1], _BOTTOM, _TOP)


def _chart(
    name: str,
    title: str,
    description: str,
    last: float,
    lines: Sequence[Tuple[str, Sequence[Point]]],
    marks: Sequence[Tuple[float, float, str, str]] = (),
    level: Optional[Tick] = None,
) -> Chart:
    points = [point for _, line in lines for point in line]
    across, upright = Scale(0.0, float(max(last, 1)), _LEFT, _RIGHT), _vertical(points)
    steps = [value for value in axis_ticks(across.high, most=4) if value <= across.high]
    return Chart(
        name=name,
        title=title,
        description=description,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        x_ticks=tuple(Tick(across.at(value), tick_label(value)) for value in steps),
        y_ticks=tuple(Tick(upright.at(value), tick_label(value)) for value in axis_ticks(upright.high)),
        lines=tuple(_line(style, line, across, upright) for style, line in lines),
        marks=tuple(Dot(across.at(x), upright.at(y), style, text) for x, y, style, text in marks),
        level=level,
    )


def _line(style: str, points: Sequence[Point], across: Scale, upright: Scale) -> Line:
    shown = thinned(points, _MOST_POINTS)
    return Line(style, path_data([(across.at(x), upright.at(y)) for x, y in shown]))
