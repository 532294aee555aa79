import random

import jiwer
import pytest

from whisper_finetune_api.v1alpha1.scores import ClipSubset, Metric, WordErrorRate
from whisper_finetune_trainer.data.text_rules import normalizer_for
from whisper_finetune_trainer.evaluation import clip_counts, intervals, wer


def measure(references: list[str], hypotheses: list[str], language: str = "it") -> wer.Measurement:
    return wer.measure_texts(references, hypotheses, language, {})


def test_words_of_all_clips_count_alike() -> None:
    measured = measure(["uno due tre quattro", "cinque"], ["Uno due, tre", "sei"])
    # Raw: Uno and due, differ and quattro is missing (3 of 4), sei (1 of 1).
    assert measured.wer == pytest.approx(100 * 4 / 5)
    assert measured.normalized_wer == pytest.approx(100 * 2 / 5)
    assert measured.scored == clip_counts.ClipErrors(errors=(1, 1), words=(4, 1))
    assert measured.to_report() == WordErrorRate(score="40.00", wer="80.00", normalized_wer="40.00", cer=None)


@pytest.mark.parametrize(
    ("hypothesis", "errors"),
    [("uno due", 0), ("uno", 1), ("uno due tre", 1), ("uno sei", 1), ("", 2), ("a b c d", 4)],
    ids=["equal", "deleted", "inserted", "substituted", "empty", "all wrong and longer"],
)
def test_errors_of_one_clip(hypothesis: str, errors: int) -> None:
    assert measure(["uno due"], [hypothesis]).scored == clip_counts.ClipErrors((errors,), (2,))


def test_counts_agree_with_jiwer_on_random_texts() -> None:
    generator = random.Random(0)  # noqa: S311 -- nothing secret
    words = ["sole", "mare", "luna", "gatto"]
    references = [" ".join(generator.choices(words, k=generator.randint(1, 9))) for _ in range(50)]
    hypotheses = [" ".join(generator.choices(words, k=generator.randint(0, 9))) for _ in range(50)]
    assert measure(references, hypotheses).wer == pytest.approx(100 * jiwer.wer(references, hypotheses))


def test_references_that_normalize_to_nothing_are_left_out_and_counted() -> None:
    measured = measure(["uno", "[musica]"], ["uno", "due tre quattro"])
    assert (measured.normalized_wer, measured.skipped) == (0.0, 1)
    assert measured.wer > 0
    assert measured.scored == clip_counts.ClipErrors((0, 0), (1, 0))


def test_no_words_at_all_is_no_error() -> None:
    measured = measure(["..."], ["..."])
    assert (measured.normalized_wer, measured.skipped) == (0.0, 1)
    assert intervals.of_difference(measured.scored, measured.scored) is None


def test_languages_without_spaces_are_measured_by_letter() -> None:
    measured = measure(["你好世界"], ["你好地界"], "zh")
    assert measured.to_report() == WordErrorRate(score="25.00", wer="100.00", normalized_wer="100.00", cer="25.00")
    assert wer.metric("zh", {}) == Metric(name="cer", normalizer=normalizer_for("zh", {}).name)
    assert wer.metric("it", {}) == Metric(name="wer", normalizer="basic with marks")


def test_the_interval_holds_the_difference_and_is_the_same_each_time() -> None:
    generator = random.Random(1)  # noqa: S311 -- nothing secret
    references = ["uno due tre quattro"] * 100
    before = measure(references, [generator.choice(["uno due tre quattro", "uno due", "sei"]) for _ in references])
    after = measure(references, [generator.choice(["uno due tre quattro", "uno due tre"]) for _ in references])
    interval = intervals.of_difference(before.scored, after.scored)
    assert interval is not None
    assert interval.low < after.normalized_wer - before.normalized_wer < interval.high < 0
    assert intervals.of_difference(before.scored, after.scored) == interval


def test_the_interval_is_paired() -> None:
    # Every clip gains exactly one of two words: unpaired, the spread of the clips would widen the interval.
    references = ["uno due"] * 40
    before = measure(references, ["x y", "uno x"] * 20)
    after = measure(references, ["uno y", "uno due"] * 20)
    assert intervals.of_difference(before.scored, after.scored) == intervals.Interval(low=-50.0, high=-50.0)


def test_no_change_gives_an_interval_around_zero() -> None:
    measured = measure(["uno due", "tre"], ["uno", "tre"])
    assert intervals.of_difference(measured.scored, measured.scored) == intervals.Interval(0.0, 0.0)


def test_the_interval_of_many_clips_takes_bounded_memory() -> None:
    measured = measure(["uno"] * 5_000, ["uno"] * 5_000)
    assert intervals.of_difference(measured.scored, measured.scored) == intervals.Interval(0.0, 0.0)


def test_texts_that_occur_in_train_are_left_out_of_the_unseen_ones() -> None:
    references = ["Uno due.", "tre quattro", "cinque sei", "..."]
    before = measure(references, ["x x", "x x", "x sei", ""])
    after = measure(references, ["uno due", "tre x", "cinque sei", ""])
    assert wer.unseen(before, after, ["uno DUE"], "it", {}) == ClipSubset(
        clips=2, baseline="75.00", result="25.00", difference_low="-50.00", difference_high="-50.00"
    )


def test_without_unseen_texts_there_are_no_figures() -> None:
    measured = measure(["uno"], ["uno"])
    assert wer.unseen(measured, measured, ["uno"], "it", {}) is None


@pytest.mark.parametrize(("percent", "text"), [(12.345, "12.35"), (0.0, "0.00"), (1e9, "99999.99")])
def test_percentages_as_the_status_has_them(percent: float, text: str) -> None:
    assert wer.percent_text(percent) == text


@pytest.mark.parametrize(("points", "text"), [(-0.001, "0.00"), (-10.0, "-10.00"), (3.14159, "3.14")])
def test_differences_as_the_status_has_them(points: float, text: str) -> None:
    assert wer.points_text(points) == text
