"""Texts that never end or repeat their end: how many tokens a clip may have, and how a loop counts."""

from __future__ import annotations

import pytest

from whisper_finetune_api.v1alpha1.scores import ClipSubset, WordErrorRate
from whisper_finetune_trainer.evaluation import clip_counts, intervals, wer
from whisper_finetune_trainer.model import generation
from whisper_finetune_trainer.model.generation import Transcript

END = 1


class Spelling:
    """A tokenizer whose tokens are letters' numbers."""

    def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(map(chr, tokens))


@pytest.mark.parametrize(
    ("seconds", "tokens"),
    [
        # Recorded prompts with the most tokens for their length; 25 in capital letters; Gujarati spoken fast.
        (0.84, 11),
        (3.21, 21),
        (7.51, 60),
        (26.56, 138),
        (1.0, 25 + 10),
        (5.0, 5 * 8 * 6),
    ],
)
def test_no_speech_has_as_many_tokens_as_a_text_may_have(seconds: float, tokens: int) -> None:
    assert generation.most_spoken_tokens(seconds) > 1.3 * tokens


def test_a_text_of_a_short_clip_cannot_become_hundreds_of_words() -> None:
    assert generation.most_spoken_tokens(0.7) == 16 + 45


@pytest.mark.parametrize(
    ("generated", "text", "is_cut"),
    [
        ([*b" uno", END, END], "uno", False),
        ([*b"x" * 80, END], "x" * 80, False),
        ([*b"x" * 81], "x" * 80, True),
        ([END], "", False),
    ],
    ids=["short", "as long as may be", "longer", "nothing"],
)
def test_a_text_ends_with_its_clip(generated: list[int], text: str, is_cut: bool) -> None:  # noqa: FBT001 (a table's column)
    assert generation.read_transcript(Spelling(), generated, {END}, seconds=1.0) == Transcript(text, is_cut)


@pytest.mark.parametrize(
    ("generated", "is_unended", "ran_into_a_limit"),
    [
        ([*b" uno", END, END], False, False),
        ([*b" uno", *b" due"], True, True),
        ([*b"x" * 80], True, True),
        ([*b"x" * 81], False, True),
    ],
    ids=["ended", "at the limit of all texts", "as long as its clip may be", "longer than its clip"],
)
def test_a_text_that_the_model_does_not_end_ran_into_a_limit(
    generated: list[int],
    is_unended: bool,  # noqa: FBT001 (a table's column)
    ran_into_a_limit: bool,  # noqa: FBT001 (a table's column)
) -> None:
    found = generation.read_transcript(Spelling(), generated, {END}, seconds=1.0)
    assert (found.is_unended, found.ran_into_a_limit) == (is_unended, ran_into_a_limit)


@pytest.mark.parametrize(
    ("reference", "heard", "is_loop"),
    [
        ("cinque", Transcript("cinque", is_cut=False), False),
        ("cinque", Transcript("a b c", is_cut=True), True),
        ("cinque", Transcript("5, " * 12 + "5.", is_cut=False), True),
        ("cinque", Transcript("Cinque" + "cinque" * 9, is_cut=False), True),
        ("è un sole", Transcript("è un sole e un mare" + " e un mare" * 8 + " e un", is_cut=False), True),
        ("no no no no no no no no no no", Transcript("No, no, no, no, no, no, no, no, no, no!", is_cut=False), False),
        ("sì, sì, sì", Transcript("sì sì sì sì", is_cut=False), False),
        ("un milione", Transcript("1000000", is_cut=False), False),
        ("e poi", Transcript("e poi.........................", is_cut=False), False),
        ("哈", Transcript("哈" * 40, is_cut=False), True),
    ],
)
def test_loops(reference: str, heard: Transcript, is_loop: bool) -> None:  # noqa: FBT001 (a table's column)
    assert wer.find_loops([reference], [heard]) == ((0,) if is_loop else ())


def test_of_a_loop_nothing_counts_as_heard() -> None:
    references = ["cinque", "uno due tre"]
    measured = wer.measure_texts(references, ["cinque " * 60, "uno due sei"], "it", {}, loops=(0,))
    assert measured.scored == clip_counts.ClipErrors((1, 1), (1, 3))
    assert measured.written == clip_counts.ClipErrors((1, 1), (1, 3))
    assert measured.to_report() == WordErrorRate(
        score="50.00", wer="50.00", normalized_wer="50.00", looped_clips=1, score_with_loops="1500.00"
    )


def test_without_a_loop_the_report_does_not_speak_of_them() -> None:
    measured = wer.measure_texts(["cinque"], ["cinque"], "it", {})
    assert measured.to_report() == WordErrorRate(score="0.00", wer="0.00", normalized_wer="0.00")
    assert wer.without_loops(measured, measured) is None


def test_one_loop_decides_no_interval() -> None:
    references = ["cinque", *["uno due"] * 30]
    heard = [*["uno due"] * 20, *["uno x"] * 10]
    calm = wer.measure_texts(references, ["sei", *heard], "it", {})
    loop = wer.measure_texts(references, ["cinque " * 400, *heard], "it", {}, loops=(0,))
    after = wer.measure_texts(references, ["cinque", *heard], "it", {})
    assert loop.score == calm.score
    assert intervals.of_difference(loop.scored, after.scored) == intervals.of_difference(calm.scored, after.scored)
    assert wer.without_loops(loop, after) == ClipSubset(
        clips=30, baseline="16.67", result="16.67", difference_low="0.00", difference_high="0.00"
    )
