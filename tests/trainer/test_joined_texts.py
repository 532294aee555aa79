"""What was heard in a joined recording, beside what is said there: stretch by stretch, boundary by boundary."""

from __future__ import annotations

from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.joined_recordings import JoinedRecording, PlacedClip
from whisper_finetune_trainer.evaluation import joined_texts, wer
from whisper_finetune_trainer.evaluation.joined_texts import ComparedRecording
from whisper_finetune_trainer.model.sequential_transcription import HeardSegment, HeardWindow

FOUR = ("uno due", "tre, quattro", "cinque sei", "sette otto nove")


def recording(*texts: str, seconds: float = 19.0) -> JoinedRecording:
    """Return clips of so many seconds, with pauses of one second."""
    clips = (Clip(str(number), WholeFile(str(number)), text, seconds) for number, text in enumerate(texts))
    return JoinedRecording(tuple(PlacedClip(clip, (seconds + 1.0) * number) for number, clip in enumerate(clips)))


def window(*segments: tuple[float, float, str], is_cut: bool = False) -> HeardWindow:
    return HeardWindow(tuple(HeardSegment(*segment) for segment in segments), is_cut)


def test_a_recording_that_is_heard_well() -> None:
    heard = (
        window((0.0, 19.0, "Uno due"), (20.0, 38.5, "tre quattro.")),
        window((40.2, 59.0, "Cinque sei."), (60.0, 79.0, "- Sette otto nove")),
    )
    assert joined_texts.compare_recording(recording(*FOUR), heard, "it") == ComparedRecording(
        said=("uno due tre, quattro", "cinque sei sette otto nove"),
        heard=("Uno due tre quattro.", "Cinque sei. - Sette otto nove"),
        boundary_errors=(0.0, 0.0, 0.0, 0.5, 40.2 - 40.0, 0.0, 0.0, 0.0),
        boundaries=8,
        looped_windows=0,
        cut_windows=0,
    )


def test_words_that_are_missing_wrong_or_too_many_stay_in_their_stretch() -> None:
    heard = (window((0.0, 30.0, "uno due zero tre zero")), window((41.0, 70.0, "cinque sessanta otto nove dieci")))
    compared = joined_texts.compare_recording(recording(*FOUR), heard, "it")
    assert compared.heard == ("uno due zero tre zero", "cinque sessanta otto nove dieci")
    # The first word of the first and of the third clip are the only ones that say where a segment begins.
    assert compared.boundary_errors == (0.0, 1.0)


def test_a_model_that_stops_after_its_first_segment_misses_the_other_stretches() -> None:
    compared = joined_texts.compare_recording(recording(*FOUR), (window((0.0, 19.0, "uno due")),), "it")
    assert compared.heard == ("uno due", "")
    measured = wer.measure_texts(compared.said, compared.heard, "it", {})
    assert (measured.scored.errors, measured.scored.words) == ((2, 5), (4, 5))


def test_a_segment_of_several_clips_has_the_boundaries_of_the_first_and_the_last() -> None:
    heard = (window((0.4, 40.0, "uno due tre quattro cinque")), window((40.0, 79.5, "sei sette otto nove")))
    compared = joined_texts.compare_recording(recording(*FOUR), heard, "it")
    assert (compared.boundary_errors, compared.boundaries) == ((0.4, 0.5), 8)


def test_nothing_counts_as_heard_of_a_window_that_loops() -> None:
    loop = "tre " + "quattro " * 12
    heard = (window((0.0, 19.0, "uno due"), (20.0, 30.0, loop), is_cut=True), window((40.0, 59.0, "cinque sei")))
    compared = joined_texts.compare_recording(recording(*FOUR), heard, "it")
    assert compared.heard == ("", "cinque sei")
    assert (compared.looped_windows, compared.cut_windows) == (1, 1)
    assert compared.said == ("uno due tre, quattro", "cinque sei sette otto nove")


def test_what_repeats_itself_in_a_clip_is_no_loop() -> None:
    song = "la la la la la la la la la la la la"
    compared = joined_texts.compare_recording(recording(song), (window((0.0, 19.0, song)),), "it")
    assert (compared.heard, compared.looped_windows) == ((song,), 0)


def test_nothing_heard_and_nothing_to_compare() -> None:
    assert joined_texts.compare_recording(recording("uno", "..."), (), "it") == ComparedRecording(
        ("uno ...",), ("",), (), 4, 0, 0
    )
    assert joined_texts.compare_recording(recording("..."), (window((0.0, 2.0, "uno")),), "it").heard == ("uno",)


def test_a_language_without_spaces_is_compared_letter_by_letter() -> None:
    heard = (window((0.0, 19.0, "你好吗。"), (20.5, 39.0, "很好")), window((40.0, 59.0, "谢谢")))
    compared = joined_texts.compare_recording(recording("你好", "很好。", "谢谢", seconds=19.0), heard, "zh")
    assert compared == ComparedRecording(
        ("你好 很好。 谢谢",), ("你好吗。很好谢谢",), (0.0, 0.5, 0.0, 0.0, 0.0), 6, 0, 0
    )


def test_a_rest_of_less_than_half_a_minute_belongs_to_the_stretch_before_it() -> None:
    heard = (window((0.0, 50.0, "a b c d e")),)
    assert joined_texts.compare_recording(recording(*"abcde", seconds=9.5), heard, "it").said == ("a b c d e",)
    assert joined_texts.compare_recording(recording(*"abcdefg", seconds=9.5), heard, "it").said == ("a b c", "d e f g")
