"""The report's figures before and after training, and what they say in words. Pure."""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from whisper_finetune_api.run import TrainingResult
from whisper_finetune_api.v1alpha1.status import Metric
from whisper_finetune_trainer.evaluation import clip_lengths, wer
from whisper_finetune_trainer.evaluation.clip_lengths import LengthGroup, Rate
from whisper_finetune_trainer.evaluation.wer import Interval, Measurement
from whisper_finetune_trainer.report.interval_chart import Row


@dataclass(frozen=True)
class Headline:
    """The normalized rates over all clips, and their difference in points; below zero is an improvement."""

    before: Rate
    after: Rate
    difference: Interval
    clips: int
    words: int

    @property
    def points(self) -> float:
        """After less before, as a reader works it out of the two figures shown."""
        return round(self.after.percent, 2) - round(self.before.percent, 2)

    @property
    def is_certain(self) -> bool:
        """Whether chance does not explain the difference."""
        return self.difference.low > 0 or self.difference.high < 0

    @property
    def verdict(self) -> str:
        """What came of it, in words."""
        interval = _range(self.difference.low, self.difference.high)
        if not self.points:
            return f"No difference. Its 95 % interval is {interval} points."
        where = "lies on one side of zero: chance does not explain the difference"
        if not self.is_certain:
            where = "holds zero: chance may explain the difference"
        return f"{self._change()}. The 95 % interval of the difference, {interval} points, {where}."

    def _change(self) -> str:
        way, amount = ("lower", "fewer") if self.points < 0 else ("higher", "more")
        share = f": {100 * abs(self.points) / self.before.percent:.0f} % {amount} errors" if self.before.percent else ""
        return f"{abs(self.points):.2f} points {way}{share}"


@dataclass(frozen=True)
class FigureRow:
    """One figure before and after, as text."""

    name: str
    before: str
    after: str
    difference: str
    before_interval: str = ""
    after_interval: str = ""
    difference_interval: str = ""


def metric_name(metric: Optional[Metric]) -> str:
    """Return what the normalized rate counts, in words."""
    return "Character error rate" if metric is not None and metric.name == "cer" else "Word error rate"


def headline(before: Measurement, after: Measurement) -> Optional[Headline]:
    """Return the figures over all clips that hold a word after normalizing; None where none does."""
    difference = wer.difference(before, after)
    if difference is None:
        return None
    clips = [place for place, words in enumerate(before.normalized.words) if words]
    return Headline(
        before=clip_lengths.rate(before, clips),
        after=clip_lengths.rate(after, clips),
        difference=difference,
        clips=len(clips),
        words=sum(before.normalized.words),
    )


def rows(result: TrainingResult, total: Optional[Headline]) -> Tuple[FigureRow, ...]:
    """Return all figures of a result."""
    before, after = result.baseline, result.result
    if before is None or after is None:
        return ()
    found: List[FigureRow] = [_normalized(total)] if total else []
    found.append(_plain("As written", before.wer, after.wer))
    if before.cer is not None and after.cer is not None:
        found.append(_plain("Characters", before.cer, after.cer))
    if after.unseen_texts is not None:
        unseen = after.unseen_texts
        interval = _range(float(unseen.difference_low), float(unseen.difference_high))
        name = f"Normalized, texts not in train ({unseen.clips} clips)"
        found.append(_plain(name, unseen.baseline, unseen.result, interval))
    return tuple(found)


def interval_rows(total: Headline, lengths: Sequence[LengthGroup]) -> List[Row]:
    """Return the rows of the chart by clip length, all clips first."""
    groups = [Row(f"{length_words(group)}, {group.clips} clips", group.before, group.after) for group in lengths]
    return [Row(f"All {total.clips} clips", total.before, total.after), *groups]


def length_words(group: LengthGroup) -> str:
    """Return a group's lengths as text."""
    return f"{group.shortest:.1f} to {group.longest:.1f} s"


def _normalized(total: Headline) -> FigureRow:
    return FigureRow(
        name="Normalized",
        before=wer.percent_text(total.before.percent),
        after=wer.percent_text(total.after.percent),
        difference=_points(total.points),
        before_interval=_range(total.before.interval.low, total.before.interval.high),
        after_interval=_range(total.after.interval.low, total.after.interval.high),
        difference_interval=_range(total.difference.low, total.difference.high),
    )


def _plain(name: str, before: str, after: str, interval: str = "") -> FigureRow:
    return FigureRow(name, before, after, _points(float(after) - float(before)), difference_interval=interval)


def _range(low: float, high: float) -> str:
    return f"{_points(low)} to {_points(high)}"


def _points(points: float) -> str:
    return wer.points_text(points).replace("-", "\u2212")
