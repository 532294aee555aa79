"""Translations are scored as sacrebleu scores them, and more is better."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

import finished_trainings
from trainer_configs import described_run, make_config, make_spec
from whisper_finetune_api.v1alpha1.scores import Metric, Result, Validation, WordErrorRate, verdict_of
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import clip_changes, clip_counts, intervals, wer
from whisper_finetune_trainer.evaluation.clip_counts import TranslationCounts
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.evaluation.wer import Measurement
from whisper_finetune_trainer.model import model_card
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.report import report_data, report_figures, report_files
from whisper_finetune_trainer.training import training_loop

TEXT = "The man (aged 40) went to the market in the rain, and nobody saw him. It's 12:30!"
CHRF_METRIC = Metric(name="chrf", normalizer="nrefs:1")


def sentences(count: int = 60) -> list[str]:
    generator = random.Random(0)  # noqa: S311 -- nothing secret
    return [" ".join(generator.choices(TEXT.split(), k=generator.randint(1, 12))) for _ in range(count)]


def translated(texts: list[str], share: float) -> list[str]:
    """Return the texts with this share of their words, and some of them empty."""
    generator = random.Random(1)  # noqa: S311 -- nothing secret
    return [" ".join(word for word in text.split() if generator.random() < share) for text in texts]


REFERENCES = sentences()
BAD, GOOD = translated(REFERENCES, 0.5), translated(REFERENCES, 0.9)


def measure(hypotheses: list[str], loops: tuple[int, ...] = ()) -> Measurement:
    return wer.measure_texts(REFERENCES, hypotheses, "en", {}, loops, "translate")


def evaluation(step: int, hypotheses: list[str]) -> Evaluation:
    return Evaluation(step, tuple(Transcript(text, is_cut=False) for text in hypotheses), measure(hypotheses))


@pytest.mark.parametrize("hypotheses", [BAD, GOOD, REFERENCES, [""] * len(REFERENCES)], ids=len)
def test_figures_are_sacrebleus(hypotheses: list[str]) -> None:
    figures = measure(hypotheses).figures()
    assert figures["chrf"] == figures["score"]
    assert figures["chrf"] == pytest.approx(CHRF().corpus_score(hypotheses, [REFERENCES]).score, abs=1e-9)
    assert figures["bleu"] == pytest.approx(BLEU().corpus_score(hypotheses, [REFERENCES]).score, abs=1e-9)


def test_the_figure_of_some_clips_is_sacrebleus() -> None:
    some = [3, 1, 4, 1, 5]
    texts = [[of[clip] for clip in some] for of in (BAD, REFERENCES)]
    assert measure(BAD).scored.percent(some) == pytest.approx(CHRF().corpus_score(texts[0], [texts[1]]).score, abs=1e-9)


@pytest.mark.parametrize(("count", "metric"), [(clip_counts.count_chrf, CHRF()), (clip_counts.count_bleu, BLEU())])
def test_each_draw_of_the_bootstrap_is_the_figure_of_the_clips_that_it_drew(
    count: Callable[[list[str], list[str]], TranslationCounts], metric: CHRF | BLEU
) -> None:
    bad, good = count(REFERENCES, BAD), count(REFERENCES, GOOD)
    clips = np.arange(5, 40)
    drawn = np.random.default_rng(0).integers(0, len(clips), size=(6, len(clips)))

    def corpus_scores(hypotheses: list[str]) -> list[float]:
        chosen = [[int(clip) for clip in clips[draw]] for draw in drawn]
        pairs = [([hypotheses[clip] for clip in each], [REFERENCES[clip] for clip in each]) for each in chosen]
        return [metric.corpus_score(heard, [said]).score for heard, said in pairs]

    expected = np.array([corpus_scores(BAD), corpus_scores(GOOD)])
    assert bad.of_draws(clips, drawn) == pytest.approx(expected[0], abs=1e-9)
    assert good.difference_of_draws(bad, clips, drawn) == pytest.approx(expected[1] - expected[0], abs=1e-9)


def test_the_interval_is_that_of_sacrebleus_own_bootstrap() -> None:
    rate = intervals.of_rate(measure(BAD).scored)
    assert rate is not None
    # It draws a thousand times with a seed of its own, and says half the width of the middle 95 %: (μ = 39.9 ± 2.1).
    own = str(CHRF().corpus_score(BAD, [REFERENCES], n_bootstrap=1000))
    half = (rate.interval.high - rate.interval.low) / 2
    assert half == pytest.approx(float(own.split("± ")[1].rstrip(")")), rel=0.15)
    assert rate.interval.low < rate.percent < rate.interval.high


def test_nothing_of_a_loop_counts_and_the_other_clips_stay_as_they_are() -> None:
    looped = [REFERENCES[0] + " in the rain" * 80, *GOOD[1:]]
    measured = measure(looped, loops=(0,))
    assert measured.score == pytest.approx(CHRF().corpus_score(["", *GOOD[1:]], [REFERENCES]).score, abs=1e-9)
    assert measured.score_with_loops == pytest.approx(CHRF().corpus_score(looped, [REFERENCES]).score, abs=1e-9)
    rest = wer.without_loops(measure(BAD), measured)
    assert rest is not None
    others = CHRF().corpus_score(GOOD[1:], [REFERENCES[1:]]).score
    assert (rest.clips, rest.result) == (len(REFERENCES) - 1, wer.percent_text(others))


def test_a_blank_reference_does_not_count() -> None:
    alone = wer.measure_texts(["good morning"], ["good"], "en", {}, (), "translate")
    beside = wer.measure_texts(["good morning", " "], ["good", "noise"], "en", {}, (), "translate")
    assert beside.score == alone.score
    nothing = wer.measure_texts([" "], ["noise"], "en", {}, (), "translate")
    assert (nothing.score, intervals.of_difference(nothing.scored, nothing.scored)) == (0.0, None)


def result_of(before: Measurement, after: Measurement) -> Result:
    interval = intervals.of_difference(before.scored, after.scored)
    assert interval is not None
    low, high = wer.points_text(interval.low), wer.points_text(interval.high)
    return Result(**after.to_report().model_dump(), difference_low=low, difference_high=high)


@pytest.mark.parametrize(
    ("before", "after", "verdict", "words"),
    [(BAD, GOOD, "Better", ""), (GOOD, BAD, "Worse", ", worse than before"), (GOOD, GOOD, "NotShown", "")],
    ids=["better", "worse", "equal"],
)
def test_a_verdict_knows_that_more_is_better(before: list[str], after: list[str], verdict: str, words: str) -> None:
    baseline, result = measure(before).to_report(), result_of(measure(before), measure(after))
    assert verdict_of(result, None, CHRF_METRIC) == verdict
    assert result.compared_with(baseline, CHRF_METRIC) == f"chrF {baseline.score} -> {result.score}{words}"


def test_a_gain_on_the_validation_clips_is_a_higher_score() -> None:
    result = result_of(measure(BAD), measure(GOOD))
    lost, gained = (Validation(clips=20, baseline="50.00", best=best, step=1) for best in ("40.00", "60.00"))
    assert (lost.has_gained(CHRF_METRIC), gained.has_gained(CHRF_METRIC)) == (False, True)
    assert verdict_of(result, lost, CHRF_METRIC) == "NotShown"
    assert verdict_of(result, gained, CHRF_METRIC) == "Better"


def test_the_best_model_is_the_one_with_the_highest_score() -> None:
    history = [evaluation(1, BAD), evaluation(2, GOOD), evaluation(3, BAD), evaluation(4, GOOD)]
    assert training_loop.best_of(history).step == 2
    assert not training_loop.is_patience_exhausted(history[:2], 1)
    assert training_loop.is_patience_exhausted(history[:3], 1)
    choice = training_loop.describe_choice(evaluation(0, BAD), history)
    assert (choice.best, choice.step, choice.has_gained(CHRF_METRIC)) == (
        wer.percent_text(measure(GOOD).score),
        2,
        True,
    )


def test_clips_are_ranked_by_their_own_score() -> None:
    page = report_data.gather_report(finished_trainings.make(task="translate"))
    first = page.changes.gained[0]
    before, after = map(float, first.shown)
    assert after > before
    assert first.gain == max(change.gain for change in page.changes.gained)
    assert all(change.gain < 0 for change in page.changes.lost)


def test_a_right_clip_is_right() -> None:
    clip = Clip("0.wav", WholeFile(""), "good morning", 1.0)
    right = wer.measure_texts([clip.text], ["good morning"], "en", {}, (), "translate").scored
    words = clip_changes.align([clip.text], [clip.text])
    changes = clip_changes.compare_clips([clip], words, words, figures=[(right.of_clip(0), right.of_clip(0))])
    assert (changes.unchanged_right, changes.unchanged_wrong) == (1, 0)


def test_the_report_says_which_way_is_better() -> None:
    page = report_files.render_page(report_data.gather_report(finished_trainings.make(task="translate")), {})
    assert "chrF, of the translations as they are written, over 48 held-out clips" in page
    assert "the higher the better" in page
    assert "Scores, with 95 % intervals over clips" in page
    assert '<th scope="row">BLEU</th>' in page
    assert "have a higher chrF" in page
    assert 'class="verdict good"' in page
    for wrong in ("error rate", "errors</b>", "fewer errors", "the lower the better", "Normalized"):
        assert wrong not in page.replace("Word error rate as written", "").replace("Errors are counted", "")


def test_a_headline_of_a_worse_translation_says_so() -> None:
    headline = report_figures.make_headline(measure(GOOD), measure(BAD))
    assert headline is not None
    assert not headline.is_better
    assert "points lower, so worse. The 95 % interval" in headline.verdict


def test_a_card_has_both_figures_and_calls_a_worse_model_worse() -> None:
    finished = finished_trainings.make(task="translate")
    found = finished.result.model_copy(update={"baseline": finished.final.measurement.to_report()})
    figures = result_of(finished.final.measurement, finished.baseline.measurement)
    config = make_config(make_spec(task="translate"))
    card = model_card.model_card(described_run(config), found, 100, figures)
    assert "## Scores" in card
    assert f"| chrF | {found.baseline.score if found.baseline else ''} | {figures.score} |" in card
    assert f"| {figures.bleu} |" in card
    assert "**This model is worse than the one it was made from.**" in card
    assert "Verdict: Worse" in card


def test_the_status_names_the_metric_and_how_sacrebleu_computes_it() -> None:
    metric = wer.metric("en", {}, "translate")
    chrf = CHRF()
    chrf.corpus_score(BAD, [REFERENCES])
    assert (metric.name, metric.normalizer) == ("chrf", str(chrf.get_signature()))


def test_what_an_older_trainer_says_of_a_translation_is_still_an_error_rate() -> None:
    metric = Metric.model_validate({"name": "wer", "normalizer": "whisper english"})
    before = WordErrorRate.model_validate({"score": "40.00", "wer": "50.00", "normalizedWer": "40.00"})
    after = Result.model_validate(
        {
            "score": "30.00",
            "wer": "45.00",
            "normalizedWer": "30.00",
            "differenceLow": "-12.00",
            "differenceHigh": "-8.00",
        }
    )
    assert after.compared_with(before, metric) == "normalized WER 40.00 -> 30.00 %"
    assert verdict_of(after, None, metric) == "Better"


def test_sacrebleu_is_loaded_for_translations_alone(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from whisper_finetune_trainer.evaluation import wer\n"
        "loaded = []\n"
        "for task in ('transcribe', 'translate'):\n"
        "    wer.metric('en', {}, task), wer.measure_texts(['good'], ['good'], 'en', {}, (), task)\n"
        "    loaded.append('sacrebleu' in sys.modules)\n"
        "print(json.dumps(loaded))\n"
    )
    paths = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("crds", "trainer")]
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(paths), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout) == [False, True]
    assert not (tmp_path / ".sacrebleu").exists()


def test_texts_that_occur_in_train_are_told_apart() -> None:
    some = wer.unseen(measure(BAD), measure(GOOD), REFERENCES[:20], "en", {})
    assert some is not None
    assert float(some.result) > float(some.baseline)
    assert float(some.difference_low) > 0
