"""The report's curves: loss, learning rate and score by step. Pure."""

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from whisper_finetune_trainer.checkpoints.step_record import Stretch
from whisper_finetune_trainer.report import charts
from whisper_finetune_trainer.report.charts import Chart, Line, Mark, Point, Scale, Tick

_HEIGHT = 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, charts.WIDTH - 10.0, 14.0, 176.0
#: One point for each unit of the chart's width is more than the eye can tell apart.
_MOST_POINTS = 300


@dataclass(frozen=True)
class Measured:
    """A normalized error rate in percent after a step, whether the user keeps that model, and whether it is final."""

    step: int
    percent: float
    is_kept: bool
    is_final: bool


def loss(stretches: Sequence[Stretch]) -> Chart:
    """Return the curve of the training loss, each step's faintly and their moving mean."""
    points = [(float(item.last_step), item.loss) for item in stretches]
    smooth = charts.smoothed(points)
    described = "The training loss of each step"
    if points:
        described += f", about {smooth[0][1]:.3g} at first and {smooth[-1][1]:.3g} in the end (moving mean)."
    lines = (("faint", points), ("strong", smooth))
    return _chart("loss", "Training loss", described, _last_step(stretches), lines)


def learning_rate(stretches: Sequence[Stretch]) -> Chart:
    """Return the curve of the learning rate."""
    points = [(float(item.last_step), item.learning_rate) for item in stretches]
    highest = max((rate for _, rate in points), default=0.0)
    described = f"The learning rate of each step; at its highest it was {highest:.3g}."
    return _chart("learning-rate", "Learning rate", described, _last_step(stretches), (("strong", points),))


def error_rate(baseline: float, measured: Sequence[Measured], last_step: int, name: str) -> Chart:
    """Return the curve of the normalized error rate from step 0 on, with the baseline as a level line."""
    points = [(0.0, baseline), *((float(item.step), item.percent) for item in measured)]
    described = "; ".join(f"step {step:g}: {percent:.2f} %" for step, percent in points)
    marks = [(float(item.step), item.percent, *_look(item)) for item in measured]
    level = Tick(_vertical(points).at(baseline), f"baseline {baseline:.2f}")
    title = f"{name}, %"
    return _chart("error-rate", title, described, last_step, (("strong", points),), marks, level)


def _look(item: Measured) -> Tuple[str, str]:
    if item.is_final:
        return "final", "the final model"
    return ("kept", "a kept checkpoint") if item.is_kept else ("measured", "measured")


def _last_step(stretches: Sequence[Stretch]) -> int:
    return stretches[-1].last_step if stretches else 1


def _vertical(points: Sequence[Point]) -> Scale:
    return Scale(0.0, charts.ticks(max((y for _, y in points), default=1.0))[-1], _BOTTOM, _TOP)


def _chart(
    name: str,
    title: str,
    description: str,
    last_step: int,
    lines: Sequence[Tuple[str, Sequence[Point]]],
    marks: Sequence[Tuple[float, float, str, str]] = (),
    level: Optional[Tick] = None,
) -> Chart:
    points = [point for _, line in lines for point in line]
    across, upright = Scale(0.0, float(max(last_step, 1)), _LEFT, _RIGHT), _vertical(points)
    steps = [value for value in charts.ticks(across.high, most=4) if value <= across.high]
    return Chart(
        name=name,
        title=title,
        description=description,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        x_ticks=tuple(Tick(across.at(value), charts.label(value)) for value in steps),
        y_ticks=tuple(Tick(upright.at(value), charts.label(value)) for value in charts.ticks(upright.high)),
        lines=tuple(_line(style, line, across, upright) for style, line in lines),
        marks=tuple(
            Mark(across.at(x), upright.at(y), style, f"step {x:g}: {y:.2f} %, {words}") for x, y, style, words in marks
        ),
        level=level,
    )


def _line(style: str, points: Sequence[Point], across: Scale, upright: Scale) -> Line:
    shown = charts.thinned(points, _MOST_POINTS)
    return Line(style, charts.path([(across.at(x), upright.at(y)) for x, y in shown]))
