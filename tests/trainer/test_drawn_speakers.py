"""Intervals hold for speakers who were not heard: whole speakers are drawn, where there are enough of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whisper_finetune_api.run import TrainerReport
from whisper_finetune_api.v1alpha1 import DataSummary
from whisper_finetune_api.v1alpha1.scores import DrawnUnits, Result
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import clip_counts, evaluations, intervals
from whisper_finetune_trainer.evaluation.clip_counts import ClipErrors, ClipGroups
from whisper_finetune_trainer.evaluation.evaluations import Evaluation
from whisper_finetune_trainer.evaluation.intervals import Interval
from whisper_finetune_trainer.model import model_card
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.training import outcome

TRIALS = 300
#: Of a hundred trainings without effect so many claim an improvement by a 95 % interval.
NOMINAL_PERCENT = 2.5


class Training:
    """A training that changes how each speaker is heard by something of his own, and all by the same `gain`."""

    def __init__(self, generator: np.random.Generator, speakers: int, clips: int, *, uneven: bool, gain: float) -> None:
        share = generator.dirichlet(np.ones(speakers)) if uneven else np.full(speakers, 1 / speakers)
        self.who = generator.choice(speakers, clips, p=share)
        self.words = generator.integers(1, 12, clips)
        heard_before = np.clip(0.25 + generator.normal(0, 0.05, speakers), 0.02, 0.9)
        heard_after = np.clip(heard_before + generator.normal(0, 0.1, speakers) - gain, 0, 1)
        self.before = generator.binomial(self.words, heard_before[self.who])
        self.after = generator.binomial(self.words, heard_after[self.who])

    def interval(self, groups: ClipGroups) -> Interval:
        counts = [
            ClipErrors(tuple(each.tolist()), tuple(self.words.tolist()), groups) for each in (self.before, self.after)
        ]
        found = intervals.of_difference(*counts)
        assert found is not None
        return found

    def is_better_by_speakers(self) -> bool:
        return self.interval(ClipGroups(speakers=tuple(f"speaker {each}" for each in self.who))).high < 0

    def is_better_by_clips(self) -> bool:
        return self.interval(ClipGroups()).high < 0


@pytest.mark.slow
def test_trainings_that_help_some_speakers_and_harm_others_are_not_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_RESAMPLES", 1_000)
    generator = np.random.default_rng(0)
    by_speakers: dict[Any, float] = {}
    by_clips: dict[Any, float] = {}
    for speakers, clips, uneven in (
        (5, 100, False),
        (6, 100, False),
        (10, 100, False),
        (20, 100, True),
        (50, 200, True),
    ):
        made = [Training(generator, speakers, clips, uneven=uneven, gain=0.0) for _ in range(TRIALS)]
        by_speakers[speakers] = 100 * float(np.mean([each.is_better_by_speakers() for each in made]))
        by_clips[speakers] = 100 * float(np.mean([each.is_better_by_clips() for each in made]))
    assert np.mean([*by_speakers.values()]) <= 1.5 * NOMINAL_PERCENT, by_speakers
    assert max(by_speakers.values()) < 2.5 * NOMINAL_PERCENT, by_speakers
    # So many would be, if the clips of a speaker counted as those of as many people.
    assert np.mean([*by_clips.values()]) > 3 * NOMINAL_PERCENT, by_clips


@pytest.mark.slow
@pytest.mark.parametrize(("speakers", "gain"), [(10, 0.15), (20, 0.1), (50, 0.08)])
def test_trainings_that_help_most_speakers_are_better(
    speakers: int, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "_RESAMPLES", 1_000)
    generator = np.random.default_rng(0)
    made = [Training(generator, speakers, 200, uneven=False, gain=gain) for _ in range(TRIALS)]
    assert np.mean([each.is_better_by_speakers() for each in made]) > 0.8


def counts(speakers: str = "", recordings: str = "", words: tuple[int, ...] = ()) -> ClipErrors:
    """Return counts of clips, of which each letter names the speaker or the recording, and a blank nobody."""
    number = len(speakers or recordings)
    groups = ClipGroups(*(tuple(name.strip() for name in names) for names in (speakers, recordings)))
    return ClipErrors((1,) * number, words or (2,) * number, groups)


@pytest.mark.parametrize(
    ("measured", "unit", "units"),
    [
        (counts("aabbccdd"), "Speakers", 4),
        (counts("aabbccdd", "aabbccdd"), "Speakers", 4),
        # A clip of nobody is by itself.
        (counts("aabbcc  "), "Speakers", 5),
        # Where most is said by nobody who is named, the names say little.
        (counts("aabb      "), "Clips", 10),
        # Three cannot speak for others, and four of whom one says nearly everything neither.
        (counts("aaabbbccc"), "Clips", 9),
        (counts("aaaaaaaaaabcd"), "Clips", 13),
        # They have recorded enough that those can be drawn.
        (counts("aaaabbbb", "11223344"), "Recordings", 4),
        # Each clip is somebody's.
        (counts("abcdefgh"), "Clips", 8),
        (counts("", "11223344"), "Recordings", 4),
        # What has no word does not count.
        (counts("aabbccdd", words=(2, 2, 2, 2, 2, 2, 0, 0)), "Clips", 6),
    ],
)
def test_what_is_drawn(measured: ClipErrors, unit: str, units: int) -> None:
    drawn = intervals.draw_by(measured)
    assert (drawn.unit, len(drawn.members)) == (unit, units)


@pytest.mark.parametrize(
    ("speakers", "few"),
    [
        ("aabbccdd", None),
        ("aaabbbccc", 3),
        ("aaaa", 1),
        ("    ", None),
        ("abcdefgh", None),
        ("aaaaabbbbbccccc   ", None),
        ("aaa     ", None),
    ],
)
def test_a_few_speakers_speak_for_themselves(speakers: str, few: int | None) -> None:
    assert intervals.few_speakers(counts(speakers)) == few


def test_some_of_the_clips_are_drawn_by_their_speakers_too() -> None:
    assert intervals.draw_by(counts("aabbccddee"), [0, 1, 2, 3, 4, 5, 6, 7]).members == ((0, 1), (2, 3), (4, 5), (6, 7))


def test_groups_of_translations_add_up_to_the_same_figure() -> None:
    references, heard = ["one two", "three", "four five six"], ["one too", "three", "for five sick"]
    for count in (clip_counts.count_chrf, clip_counts.count_bleu):
        measured = count(references, heard)
        grouped = measured.together([(0, 2), (1,)])
        assert grouped.percent() == pytest.approx(measured.percent())
        assert grouped.percent([0]) == pytest.approx(measured.percent([0, 2]))
        assert grouped.words == (5, 1)


def clip(number: int, speaker: str) -> Clip:
    return Clip(f"{number}", WholeFile(f"{number}.wav"), "uno due", 1.0, speaker)


@pytest.mark.parametrize(
    ("speakers", "drawn", "few", "words"),
    [
        ("aabbccddeeff", DrawnUnits(unit="Speakers", units=6), None, "6 speakers"),
        ("aaaabbbbcccc", None, 3, "clips of 3 speakers, for whom alone it holds"),
        ("aaaaaaaaaaaa", None, 1, "clips of one speaker, for whom alone it holds"),
        ("            ", None, None, "clips"),
    ],
)
def test_a_result_says_what_its_interval_is_drawn_from(
    speakers: str, drawn: DrawnUnits | None, few: int | None, words: str
) -> None:
    clips = [clip(number, speaker.strip()) for number, speaker in enumerate(speakers)]
    loaded: Any = type("Loaded", (), {"text_language_code": "it", "spellings": {}, "task": "transcribe"})
    heard = (Transcript("uno", is_cut=False),) * len(clips)
    made = [Evaluation(step, heard, evaluations.measure_clips(clips, heard, loaded)) for step in (0, 1)]
    found = evaluations.compare_evaluations(*made)
    assert (found.drawn, found.speakers, found.interval_over) == (drawn, few, words)
    assert Result.model_validate(found.to_json_object()) == found


@pytest.mark.parametrize(
    ("speakers", "drawn", "few", "cell"),
    [
        ("aabbccddeeff", DrawnUnits(unit="Speakers", units=6), None, "12"),
        ("aaaabbbbcccc", None, 3, "12 of 3 speakers alone"),
        ("aaaaaaaaaaaa", None, 1, "12 of 1 speaker alone"),
    ],
)
def test_each_evaluation_says_it_too(speakers: str, drawn: DrawnUnits | None, few: int | None, cell: str) -> None:
    clips = [clip(number, speaker) for number, speaker in enumerate(speakers)]
    loaded: Any = type("Loaded", (), {"text_language_code": "it", "spellings": {}, "task": "transcribe"})
    said = [(Transcript(text, is_cut=False),) * len(clips) for text in ("uno due", "Uno, due!")]
    before, after = (
        Evaluation(step, heard, evaluations.measure_clips(clips, heard, loaded)) for step, heard in enumerate(said)
    )
    written = outcome.find_worse_as_written(before, after)
    assert written is not None
    assert (written.drawn, written.speakers) == (drawn, few)
    data = DataSummary(train_clips=80, eval_clips=len(clips), dropped_clips=0, split="Given")
    report = TrainerReport(baseline=before.to_report(), data=data, evaluations=(written,))
    rows = model_card.evaluation_rows(report, evaluations.compare_evaluations(before, after))
    assert [row.clips for row in rows] == [cell, cell]
