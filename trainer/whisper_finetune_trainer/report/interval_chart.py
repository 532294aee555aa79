"""The chart of scores before and after training with their intervals, in one row per group of clips. Pure."""

from dataclasses import dataclass
from typing import Sequence, Tuple

from whisper_finetune_trainer.evaluation.intervals import Rate
from whisper_finetune_trainer.report import charts
from whisper_finetune_trainer.report.charts import Scale, Tick

_LEFT, _RIGHT, _TOP = 8.0, charts.WIDTH - 12.0, 8.0
#: The heights of a row and of what is in it: a line of words, the rate before, and the rate after.
_ROW, _WORDS, _BEFORE, _AFTER = 52.0, 12.0, 24.0, 38.0
_AXIS = 24.0


@dataclass(frozen=True)
class IntervalRow:
    """A group of clips in words, and its rates."""

    words: str
    before: Rate
    after: Rate


@dataclass(frozen=True)
class Whisker:
    """A rate, drawn as a dot at `x` on a line from `low` to `high`."""

    style: str
    y: float
    x: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class DrawnRow:
    """A row as it is drawn: its words and its two rates."""

    words: str
    rates: str
    y: float
    whiskers: Tuple[Whisker, ...]


@dataclass(frozen=True)
class IntervalChart:
    """All rows above one axis in percent."""

    height: float
    bottom: float
    left: float
    right: float
    x_ticks: Tuple[Tick, ...]
    rows: Tuple[DrawnRow, ...]
    description: str


def draw_intervals(rows: Sequence[IntervalRow], unit: str = " %") -> IntervalChart:
    """Return the chart of the rows, with the first one on top. `unit` stands behind each figure."""
    highest = max((rate.interval.high for row in rows for rate in (row.before, row.after)), default=1.0)
    values = charts.axis_ticks(highest)
    scale = Scale(0.0, values[-1], _LEFT, _RIGHT)
    bottom = _TOP + _ROW * len(rows)
    return IntervalChart(
        height=bottom + _AXIS,
        bottom=bottom,
        left=_LEFT,
        right=_RIGHT,
        x_ticks=tuple(Tick(scale.at(value), charts.tick_label(value)) for value in values),
        rows=tuple(_drawn(row, _TOP + _ROW * index, scale, unit) for index, row in enumerate(rows)),
        description="; ".join(
            f"{row.words}: {_text(row.before, unit)} before, {_text(row.after, unit)} after" for row in rows
        ),
    )


def _drawn(row: IntervalRow, top: float, scale: Scale, unit: str) -> DrawnRow:
    before = _whisker("before", top + _BEFORE, row.before, scale, unit)
    after = _whisker("after", top + _AFTER, row.after, scale, unit)
    rates = f"{row.before.percent:.1f} \u2192 {row.after.percent:.1f}{unit}"
    return DrawnRow(row.words, rates, top + _WORDS, (before, after))


def _whisker(style: str, y: float, rate: Rate, scale: Scale, unit: str) -> Whisker:
    low, high = scale.at(rate.interval.low), scale.at(rate.interval.high)
    return Whisker(style, y, scale.at(rate.percent), low, high, f"{style}: {_text(rate, unit)}")


def _text(rate: Rate, unit: str) -> str:
    return f"{rate.percent:.2f}{unit} ({rate.interval.low:.2f} to {rate.interval.high:.2f})"
