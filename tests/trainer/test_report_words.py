"""Words are aligned, counted and compared, and the counts are jiwer's own."""

from __future__ import annotations

import random

import jiwer

from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.evaluation import clip_changes, wer
from whisper_finetune_trainer.evaluation.clip_changes import AlignedWord
from whisper_finetune_trainer.report import report_figures
from whisper_finetune_trainer.report.report_figures import FrequentError


def clips(count: int) -> list[Clip]:
    return [Clip(f"{place}.wav", WholeFile(""), "", float(place)) for place in range(count)]


def random_texts(count: int, shortest: int) -> list[str]:
    generator = random.Random(count + shortest)  # noqa: S311 -- nothing secret
    words = ["sole", "mare", "luna", "gatto"]
    return [" ".join(generator.choices(words, k=generator.randint(shortest, 9))) for _ in range(count)]


def test_each_kind_of_error_is_named() -> None:
    (alignment,) = clip_changes.align(["uno due tre quattro cinque"], ["uno dua quattro cinque sei"])
    assert alignment == (
        AlignedWord("equal", "uno", "uno"),
        AlignedWord("substituted", "due", "dua"),
        AlignedWord("deleted", "tre", ""),
        AlignedWord("equal", "quattro", "quattro"),
        AlignedWord("equal", "cinque", "cinque"),
        AlignedWord("inserted", "", "sei"),
    )


def test_the_counts_are_those_of_jiwer_and_of_the_word_error_rate() -> None:
    references, hypotheses = random_texts(200, shortest=1), random_texts(200, shortest=0)
    alignments = clip_changes.align(references, hypotheses)
    output = jiwer.process_words(references, hypotheses)
    kinds = [word.kind for alignment in alignments for word in alignment]
    assert (kinds.count("equal"), kinds.count("substituted"), kinds.count("deleted"), kinds.count("inserted")) == (
        output.hits,
        output.substitutions,
        output.deletions,
        output.insertions,
    )
    measured = wer.measure_texts(references, hypotheses, "it", {})
    assert tuple(clip_changes.errors(alignment) for alignment in alignments) == measured.scored.errors


def test_both_texts_can_be_read_off_their_alignment() -> None:
    references, hypotheses = random_texts(50, shortest=1), random_texts(50, shortest=0)
    for place, alignment in enumerate(clip_changes.align(references, hypotheses)):
        assert " ".join(word.reference for word in alignment if word.reference) == references[place]
        assert " ".join(word.heard for word in alignment if word.heard) == hypotheses[place]


def test_a_clip_without_words_is_in_no_count() -> None:
    assert clip_changes.align(["", "uno"], ["due tre", "uno"])[0] == ()
    assert clip_changes.align([""], [""]) == [()]
    before = clip_changes.align(["", "uno"], ["due tre", "due"])
    after = clip_changes.align(["", "uno"], ["", "uno"])
    changes = clip_changes.compare_clips(clips(2), before, after)
    assert (changes.total, changes.better) == (1, 1)


def test_the_clips_that_changed_most_come_first() -> None:
    references = ["a b c", "a b c", "a b c", "a b c", "a b c", "a b c"]
    before = clip_changes.align(references, ["x x x", "x x c", "a b c", "a b c", "a b c", "x b c"])
    after = clip_changes.align(references, ["a b c", "a b c", "a b x", "x x x", "a b c", "a x c"])
    changes = clip_changes.compare_clips(clips(6), before, after, shown=1)
    assert [change.clip.identifier for change in changes.gained] == ["0.wav"]
    assert [change.clip.identifier for change in changes.lost] == ["3.wav"]
    assert (changes.gained[0].errors_before, changes.gained[0].errors_after, changes.gained[0].gain) == (3, 0, 3)
    assert (changes.better, changes.worse, changes.unchanged_right, changes.unchanged_wrong) == (2, 2, 1, 1)


def test_clips_are_shown_in_turn_so_that_both_kinds_get_their_sound() -> None:
    references = ["a b", "a b", "a b"]
    before = clip_changes.align(references, ["x x", "x b", "a b"])
    after = clip_changes.align(references, ["a b", "a b", "x b"])
    shown = clip_changes.compare_clips(clips(3), before, after).shown_in_turn()
    assert [change.clip.identifier for change in shown] == ["0.wav", "2.wav", "1.wav"]


def test_errors_are_ranked_by_how_often_they_were_made() -> None:
    references = ["sole mare", "sole mare", "luna piena"]
    before = clip_changes.align(references, ["sale mare", "sale", "lune piena e"])
    after = clip_changes.align(references, ["sale mare", "sole mare", "luna piena"])
    substituted = report_figures.most_frequent_errors(before, after, "substituted")
    assert substituted.errors == (
        FrequentError(AlignedWord("substituted", "sole", "sale"), 2, 1),
        FrequentError(AlignedWord("substituted", "luna", "lune"), 1, 0),
    )
    assert (substituted.before, substituted.after) == (3, 1)
    assert [error.word.reference for error in report_figures.most_frequent_errors(before, after, "deleted").errors] == [
        "mare"
    ]
    assert [error.word.heard for error in report_figures.most_frequent_errors(before, after, "inserted").errors] == [
        "e"
    ]
    assert len(report_figures.most_frequent_errors(before, after, "substituted", shown=1).errors) == 1
