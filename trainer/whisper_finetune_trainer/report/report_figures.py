"""The report's figures before and after training, its verdict in words, and the most frequent errors. Pure."""

from collections import Counter
from dataclasses import dataclass
from typing import Counter as CounterType
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from whisper_finetune_api.v1alpha1.scores import METRIC_KINDS, ClipSubset, Metric, MetricName, Result
from whisper_finetune_trainer.evaluation import intervals, wer
from whisper_finetune_trainer.evaluation.clip_changes import AlignedWord, Alignment, LengthGroup, WordKind
from whisper_finetune_trainer.evaluation.clip_counts import ClipCounts
from whisper_finetune_trainer.evaluation.intervals import Interval, Rate
from whisper_finetune_trainer.evaluation.wer import Measurement
from whisper_finetune_trainer.report.interval_chart import IntervalRow


@dataclass(frozen=True)
class Headline:
    """The scores over all clips, and the interval of their difference in points, after less before."""

    before: Rate
    after: Rate
    difference: Interval
    clips: int
    words: int
    #: The difference over the clips that do not loop. It is None where no clip loops.
    without_loops: Optional[Interval] = None
    metric: MetricName = "wer"

    @property
    def is_better(self) -> bool:
        """Whether the figure after training is the better one of the two that are shown."""
        return METRIC_KINDS[self.metric].as_loss(self.points) < 0

    @property
    def points(self) -> float:
        """After minus before, as a reader computes it from the two figures shown."""
        return round(self.after.percent, 2) - round(self.before.percent, 2)

    @property
    def is_certain(self) -> bool:
        """Whether the difference is more than chance: no interval holds zero."""
        return not any(map(_holds_zero, filter(None, (self.difference, self.without_loops))))

    @property
    def verdict(self) -> str:
        """The difference and its interval in words."""
        interval = _range(self.difference.low, self.difference.high)
        if not self.points:
            return f"No difference. Its 95 % interval is {interval} points."
        where = "lies on one side of zero: chance does not explain the difference"
        if _holds_zero(self.difference):
            where = "holds zero: chance may explain the difference"
        elif self.without_loops and not self.is_certain:
            rest = _range(self.without_loops.low, self.without_loops.high)
            where = f"is {rest} without the clips that loop, which holds zero: chance may explain the difference"
        return f"{self._change()}. The 95 % interval of the difference, {interval} points, {where}."

    def _change(self) -> str:
        way = f"{'lower' if self.points < 0 else 'higher'}{'' if self.is_better else ', so worse'}"
        return f"{abs(self.points):.2f} points {way}{self._share()}"

    def _share(self) -> str:
        if METRIC_KINDS[self.metric].more_is_better or not self.before.percent:
            return ""
        amount = "fewer" if self.points < 0 else "more"
        return f": {100 * abs(self.points) / self.before.percent:.0f} % {amount} errors"


@dataclass(frozen=True)
class FigureRow:
    """One figure before and after training, as text."""

    name: str
    before: str
    after: str
    difference: str
    before_interval: str = ""
    after_interval: str = ""
    difference_interval: str = ""


@dataclass(frozen=True)
class MetricWords:
    """How the report speaks of a metric."""

    name: str
    #: Which texts are compared, and which way is better.
    texts: str
    way: str
    #: What a text is measured in.
    counted: str
    #: The rows of the table of figures: the score, that of some of the clips, and the word error rate of the texts as
    #: they are.
    score_row: str
    some_row: str
    written_row: str
    #: Behind the figures of one clip, where the second one is 1 and where it is not.
    of_clip: Tuple[str, str] = ("error", "errors")
    #: What clips have that became better, stayed equal and became worse.
    clips: Tuple[str, str, str] = ("fewer errors", "as many errors as before", "more errors")


_WORDS: Dict[MetricName, MetricWords] = {
    "wer": MetricWords(
        name="Word error rate",
        texts="normalized",
        way="the lower the better",
        counted="words",
        score_row="Normalized",
        some_row="Normalized",
        written_row="As written",
    ),
    "cer": MetricWords(
        name="Character error rate",
        texts="normalized",
        way="the lower the better",
        counted="letters",
        score_row="Normalized, by letter",
        some_row="Normalized",
        written_row="As written by word",
    ),
    "chrf": MetricWords(
        name="chrF",
        texts="of the translations as they are written",
        way="the higher the better",
        counted="words",
        score_row="chrF",
        some_row="chrF",
        written_row="Word error rate as written, %",
        of_clip=("chrF", "chrF"),
        clips=("a higher chrF", "the same chrF as before", "a lower chrF"),
    ),
}


def metric_words(metric: Optional[Metric]) -> MetricWords:
    """Return how the report speaks of a run's metric."""
    return _WORDS[metric.name if metric else "wer"]


def make_headline(before: Measurement, after: Measurement) -> Optional[Headline]:
    """Return the figures over all clips whose normalized reference has a word. Return None where none has."""
    difference = intervals.of_difference(before.scored, after.scored)
    rates = intervals.of_rate(before.scored), intervals.of_rate(after.scored)
    if difference is None or rates[0] is None or rates[1] is None:
        return None
    words = before.scored.words
    looped = {*before.loops, *after.loops}
    others = [index for index, number in enumerate(words) if number and index not in looped]
    rest = intervals.of_difference(before.scored, after.scored, others) if looped else None
    clips = sum(each > 0 for each in words)
    return Headline(rates[0], rates[1], difference, clips, sum(words), rest, before.metric)


def figure_rows(before: Measurement, after: Measurement, result: Optional[Result]) -> Tuple[FigureRow, ...]:
    """Return the rows of the table of figures. The figures of subsets of the clips come from `result`."""
    words = _WORDS[before.metric]
    found = [
        _row(words.score_row, before.scored, after.scored),
        _row("BLEU", before.bleu, after.bleu) if before.bleu and after.bleu else None,
        _row(words.written_row, before.written, after.written),
    ]
    unseen, rest = (result.unseen_texts, result.without_loops) if result else (None, None)
    return (
        *(row for row in found if row),
        *([_of_some(f"{words.some_row}, texts not in train", unseen)] if unseen else []),
        *([_of_some(f"{words.some_row}, clips that never loop", rest)] if rest else []),
        *([_with_loops(words.some_row, before, after)] if before.loops or after.loops else []),
    )


def interval_rows(total: Headline, lengths: Sequence[LengthGroup]) -> List[IntervalRow]:
    """Return the rows of the chart by clip length. The first row is for all clips."""
    groups = [
        IntervalRow(f"{length_words(group)}, {group.clips} clips", group.before, group.after) for group in lengths
    ]
    return [IntervalRow(f"All {total.clips} clips", total.before, total.after), *groups]


def length_words(group: LengthGroup) -> str:
    """Return a group's lengths as text."""
    return f"{group.shortest:.1f} to {group.longest:.1f} s"


def _holds_zero(interval: Interval) -> bool:
    return interval.low <= 0 <= interval.high


def _row(name: str, before: ClipCounts, after: ClipCounts) -> Optional[FigureRow]:
    rates, difference = (intervals.of_rate(before), intervals.of_rate(after)), intervals.of_difference(before, after)
    if difference is None or rates[0] is None or rates[1] is None:
        return None
    return FigureRow(
        name=name,
        before=wer.percent_text(rates[0].percent),
        after=wer.percent_text(rates[1].percent),
        # As a reader computes it from the two figures shown.
        difference=_points(round(rates[1].percent, 2) - round(rates[0].percent, 2)),
        before_interval=_range(rates[0].interval.low, rates[0].interval.high),
        after_interval=_range(rates[1].interval.low, rates[1].interval.high),
        difference_interval=_range(difference.low, difference.high),
    )


def _of_some(which: str, some: ClipSubset) -> FigureRow:
    return FigureRow(
        name=f"{which} ({some.clips} clips)",
        before=some.baseline,
        after=some.result,
        difference=_points(float(some.result) - float(some.baseline)),
        difference_interval=_range(float(some.difference_low), float(some.difference_high)),
    )


def _with_loops(name: str, before: Measurement, after: Measurement) -> FigureRow:
    return FigureRow(
        name=f"{name}, if all of the loops counted",
        before=wer.percent_text(before.score_with_loops),
        after=wer.percent_text(after.score_with_loops),
        difference=_points(round(after.score_with_loops, 2) - round(before.score_with_loops, 2)),
    )


def _range(low: float, high: float) -> str:
    return f"{_points(low)} to {_points(high)}"


def _points(points: float) -> str:
    return wer.points_text(points).replace("-", "\u2212")


@dataclass(frozen=True)
class FrequentError:
    """One error, and how often it was made before and after training."""

    word: AlignedWord
    before: int
    after: int


@dataclass(frozen=True)
class FrequentErrors:
    """The most frequent errors of one kind, and how many errors of that kind there are in all."""

    kind: WordKind
    errors: Tuple[FrequentError, ...]
    before: int
    after: int


def most_frequent_errors(
    before: Sequence[Alignment], after: Sequence[Alignment], kind: WordKind, shown: int = 10
) -> FrequentErrors:
    """Return the `shown` errors of a kind that were made most often, before or after training."""
    old, new = _count(before, kind), _count(after, kind)
    words = sorted({*old, *new}, key=lambda word: (-max(old[word], new[word]), -old[word], word.reference, word.heard))
    errors = tuple(FrequentError(word, old[word], new[word]) for word in words[:shown])
    return FrequentErrors(kind, errors, sum(old.values()), sum(new.values()))


def _count(alignments: Iterable[Alignment], kind: WordKind) -> CounterType[AlignedWord]:
    return Counter(word for alignment in alignments for word in alignment if word.kind == kind)
