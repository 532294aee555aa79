"""The report's figures: intervals, groups by length, curves, facts."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import yaml

import finished_trainings
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.checkpoints.step_record import Stretch
from whisper_finetune_trainer.data import clips
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import clip_changes, intervals, wer
from whisper_finetune_trainer.evaluation.intervals import Interval, Rate
from whisper_finetune_trainer.report import charts, interval_chart, report_data, report_figures
from whisper_finetune_trainer.report.charts import MeasuredStep
from whisper_finetune_trainer.report.report_figures import Headline

_CHANCE = "holds zero: chance may explain the difference"
_NOT_CHANCE = "lies on one side of zero: chance does not explain the difference"


def headline(before: float, after: float, low: float, high: float) -> Headline:
    def rate(percent: float) -> Rate:
        return Rate(percent, Interval(percent - 1, percent + 1))

    return Headline(rate(before), rate(after), Interval(low, high), clips=10, words=100)


def test_the_interval_of_a_rate_holds_it_and_is_the_same_each_time() -> None:
    finished = finished_trainings.make()
    measured = finished.baseline.measurement.scored
    rate = intervals.of_rate(measured)
    assert rate is not None
    assert rate.interval.low < rate.percent == measured.percent() < rate.interval.high
    assert intervals.of_rate(measured) == rate
    # A normal approximation of the same: the ratio of two means over clips.
    errors, words = np.array(measured.errors), np.array(measured.words)
    spread = math.sqrt(((errors - words * errors.sum() / words.sum()) ** 2).sum()) / words.sum()
    assert rate.interval.high - rate.interval.low == pytest.approx(2 * 1.96 * 100 * spread, rel=0.1)


def test_the_interval_of_some_clips_is_theirs() -> None:
    measured = wer.measure_texts(["uno due"] * 4, ["uno due", "uno due", "x y", "x y"], "it", {}).scored
    assert intervals.of_rate(measured, [0, 1]) == Rate(0.0, Interval(0.0, 0.0))
    assert intervals.of_rate(measured, [2, 3]) == Rate(100.0, Interval(100.0, 100.0))
    assert intervals.of_rate(wer.measure_texts(["..."], ["x"], "it", {}).scored) is None


@pytest.mark.parametrize(
    ("figures", "change", "interval", "meaning"),
    [
        (headline(40, 30, -12, -8), "10.00 points lower: 25 % fewer errors", "-12.00 to -8.00", _NOT_CHANCE),
        (headline(40, 42, -1, 5), "2.00 points higher, so worse: 5 % more errors", "-1.00 to 5.00", _CHANCE),
    ],
    ids=["better", "perhaps worse"],
)
def test_the_verdict_says_no_more_than_the_interval(
    figures: Headline, change: str, interval: str, meaning: str
) -> None:
    expected = f"{change}. The 95 % interval of the difference, {interval} points, {meaning}."
    assert figures.verdict.replace("\N{MINUS SIGN}", "-") == expected


def test_a_verdict_does_not_hang_on_clips_that_loop() -> None:
    figures = dataclasses.replace(headline(40, 30, -12, -1), without_loops=Interval(-11, 0))
    assert not figures.is_certain
    assert figures.verdict.replace("\N{MINUS SIGN}", "-") == (
        "10.00 points lower: 25 % fewer errors. The 95 % interval of the difference, -12.00 to -1.00 points, "
        "is -11.00 to 0.00 without the clips that loop, which holds zero: chance may explain the difference."
    )
    assert dataclasses.replace(figures, without_loops=Interval(-11, -2)).is_certain


def test_where_nothing_changed_the_verdict_says_so() -> None:
    assert headline(0, 0, 0, 0).verdict == "No difference. Its 95 % interval is 0.00 to 0.00 points."


def test_groups_by_length_hold_each_clip_once_and_know_their_rates() -> None:
    texts = ["uno due"] * 10 + [""]
    clips = [Clip(str(place), WholeFile(""), text, float(10 - place)) for place, text in enumerate(texts)]
    before = wer.measure_texts(texts, ["x y"] * 5 + ["uno due"] * 5 + [""], "it", {})
    after = wer.measure_texts(texts, ["uno due"] * 10 + [""], "it", {})
    short, long = clip_changes.by_length(clips, before, after)
    assert (short.shortest, short.longest, short.clips, short.words) == (1.0, 5.0, 5, 10)
    assert (long.shortest, long.longest, long.clips, long.words) == (6.0, 10.0, 5, 10)
    assert (short.before.percent, long.before.percent, long.after.percent) == (0.0, 100.0, 0.0)


def test_without_words_there_is_nothing_to_compare() -> None:
    finished = finished_trainings.make()
    empty = wer.measure_texts(["..."] * 48, ["x"] * 48, "it", {})
    evaluation = dataclasses.replace(finished.baseline, measurement=empty)
    data = report_data.gather_report(dataclasses.replace(finished, baseline=evaluation, final=evaluation))
    assert (data.headline, data.intervals, data.lengths, data.changes.total) == (None, None, (), 0)


@pytest.mark.parametrize(
    ("high", "values"),
    [
        (100, (0, 20, 40, 60, 80, 100)),
        (27.35, (0, 10, 20, 30)),
        (1e-5, (0, 2e-6, 4e-6, 6e-6, 8e-6, 1e-5)),
        (0, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (1_000_000, (0, 200_000, 400_000, 600_000, 800_000, 1_000_000)),
    ],
)
def test_axes_have_few_round_values(high: float, values: tuple[float, ...]) -> None:
    assert charts.axis_ticks(high) == pytest.approx(values)


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (2.5, "2.5"), (1e-5, "1e-5"), (2000, "2000"), (1e6, "1e6")])
def test_values_of_an_axis_are_short(value: float, text: str) -> None:
    assert charts.tick_label(value) == text


def test_a_line_is_thinned_by_means_and_keeps_its_end() -> None:
    points = [(float(x), float(x % 2)) for x in range(1, 10)]
    assert charts.thinned(points, 5) == ((2.0, 0.5), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (9.0, 1.0))
    assert charts.thinned(points, 9) == tuple(points)
    assert charts.thinned([], 9) == ()


def test_a_smoothed_line_keeps_its_ends_and_its_mean() -> None:
    points = [(float(x), 10.0 if x == 50 else 0.0) for x in range(101)]
    smooth = charts.smoothed(points, share=0.1)
    assert len(smooth) == len(points)
    assert smooth[0] == points[0]
    assert smooth[-1] == points[-1]
    assert max(y for _, y in smooth) == pytest.approx(10 / 11)


def test_the_error_rate_starts_at_the_baseline_and_marks_each_model() -> None:
    measured = (
        MeasuredStep(100, 20.0, is_kept=False, is_final=False),
        MeasuredStep(200, 10.0, is_kept=True, is_final=True),
    )
    chart = charts.score_curve(40.0, measured, 200, "Word error rate")
    assert chart.level is not None
    assert chart.level.label == "baseline 40.00"
    assert [(mark.style, mark.text) for mark in chart.marks] == [
        ("measured", "step 100: 20.00 %, measured"),
        ("final", "step 200: 10.00 %, the final model"),
    ]
    # 0, 20 and 10 of 40 percent: at the top, half-way, a quarter.
    height = chart.bottom - chart.top
    assert chart.level.at == chart.top
    assert [mark.y for mark in chart.marks] == [chart.bottom - height / 2, chart.bottom - height / 4]
    assert chart.marks[-1].x == chart.right
    assert "step 0: 40.00 %; step 100: 20.00 %" in chart.description


def test_curves_of_no_step_at_all_are_empty_but_there() -> None:
    assert [line.path for line in charts.loss_curve(()).lines] == ["", ""]
    assert charts.learning_rate_curve((Stretch(1, 1, 1.0, 0.0, 1.0),)).lines[0].path.startswith("M")


def test_a_row_of_the_interval_chart_lies_on_its_axis() -> None:
    rate = Rate(25.0, Interval(0.0, 50.0))
    chart = interval_chart.draw_intervals([interval_chart.IntervalRow("all", rate, rate)])
    before, after = chart.rows[0].whiskers
    assert (before.low, before.high) == (chart.left, chart.right)
    assert before.x == (chart.left + chart.right) / 2
    assert before.y < after.y
    assert chart.description == "all: 25.00 % (0.00 to 50.00) before, 25.00 % (0.00 to 50.00) after"


def test_the_manifest_can_be_applied_again() -> None:
    run = finished_trainings.make().run
    text = report_data.manifest_yaml(run.namespace, run.name, run.spec)
    described = yaml.safe_load(text)
    assert WhisperFineTuneSpec.model_validate(described["spec"]) == run.spec
    # A reader of YAML 1.2, such as kubectl's, takes it for a number without its quotes.
    assert 'learningRate: "1e-5"' in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.4, "59.4 s"), (60, "1 min 0 s"), (3_599.6, "1 h 0 min"), (9_000, "2 h 30 min")],
)
def test_times_as_people_say_them(seconds: float, text: str) -> None:
    assert clips.duration_in_words(seconds) == text


def test_the_hours_of_all_devices_count() -> None:
    assert report_data.device_hours("ipu", 900.0, 16) == "4.00 (16 IPUs for 15 min 0 s)"


def test_figures_of_letters_are_called_so() -> None:
    assert report_figures.metric_words(wer.metric("zh", {})).name == "Character error rate"
    assert report_figures.metric_words(wer.metric("it", {})).name == "Word error rate"


def test_the_report_and_the_status_say_the_same_of_the_clips_that_never_loop() -> None:
    # Clips without a word are in no figure, and must not make one surer.
    references = [*map(str, range(12)), *["..."] * 12]
    before = wer.measure_texts(references, [""] * 24, "it", {}, loops=(5,))
    after = wer.measure_texts(references, [*map(str, range(8)), *[""] * 16], "it", {})
    figures, rest = report_figures.make_headline(before, after), wer.without_loops(before, after)
    assert figures is not None
    assert figures.without_loops is not None
    assert rest is not None
    assert rest.clips == 11
    shown = (wer.points_text(figures.without_loops.low), wer.points_text(figures.without_loops.high))
    assert shown == (rest.difference_low, rest.difference_high)
