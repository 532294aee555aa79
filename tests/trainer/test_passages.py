"""Which clips share a window: as literals, and what holds of every plan."""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

import pytest

from whisper_finetune_trainer.data import passages
from whisper_finetune_trainer.data.audio.audio_sources import RecordingSegment, WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.passages import PackingRules, Passage
from whisper_finetune_trainer.data.run_clips import ListedClips, StepOrder
from whisper_finetune_trainer.data.streams.stream_blocks import Cursor
from whisper_finetune_trainer.data.text_rules import TimedText
from whisper_finetune_trainer.ipu import clip_sampler
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.pytorch import train_steps
from whisper_finetune_trainer.pytorch.train_steps import StepSize

RATE = 100


def rules(packing: Any = "Any", timestamps: float = 0.5, prompts: float = 0.5, most_tokens: int = 400) -> PackingRules:
    return PackingRules(packing, 30, most_tokens, len, timestamps, prompts)


def segment(name: str, recording: str, start: float, seconds: float, speaker: str = "") -> Clip:
    source = RecordingSegment(WholeFile(recording), round(start * RATE), round(seconds * RATE), RATE)
    return Clip(name, source, name, seconds, speaker)


def clips_of(count: int, seconds: float = 8.0, speakers: int = 0) -> list[Clip]:
    return [
        Clip(str(number), WholeFile(str(number)), f"text {number}", seconds, str(number % speakers) if speakers else "")
        for number in range(count)
    ]


def names(planned: tuple[Passage, ...]) -> list[list[str]]:
    return [[clip.identifier for clip in passage.clips] for passage in planned]


#: Not in their order, as a list is after it was shuffled: two recordings, and a clip of its own.
SEGMENTS = [
    segment("c", "1.wav", 20.0, 6.0),
    segment("a", "1.wav", 0.0, 8.0),
    segment("z", "2.wav", 3.0, 4.0),
    segment("d", "1.wav", 26.0, 5.0),
    segment("b", "1.wav", 9.5, 10.0),
    Clip("alone", WholeFile("3.wav"), "alone", 7.0),
]


def test_neighbours_in_a_recording_are_joined_with_their_true_pauses() -> None:
    planned = passages.plan_passages(SEGMENTS, rules("Recording", timestamps=1.0, prompts=1.0), "0/0")
    assert planned == (
        Passage((SEGMENTS[1], SEGMENTS[4], SEGMENTS[0]), (0.0, 1.5, 0.5), has_timestamps=True),
        Passage((SEGMENTS[3],), (0.0,), has_timestamps=True, text_before="a b c"),
        Passage((SEGMENTS[2],), (0.0,), has_timestamps=True),
        Passage((SEGMENTS[5],), (0.0,), has_timestamps=True),
    )
    assert planned[0].starts() == (0.0, 9.5, 20.0)
    assert planned[0].seconds == 26.0
    assert planned[0].texts() == (TimedText(0.0, 8.0, "a"), TimedText(9.5, 19.5, "b"), TimedText(20.0, 26.0, "c"))


def test_neither_a_pause_that_is_too_long_nor_an_overlap_is_joined() -> None:
    found = [
        segment("a", "1.wav", 0.0, 4.0),
        segment("touches a", "1.wav", 3.96, 4.0),
        segment("overlaps", "1.wav", 7.0, 3.0),
        segment("too far", "1.wav", 35.0, 3.0),
    ]
    planned = passages.plan_passages(found, rules("Recording"), "0/0")
    assert names(planned) == [["a", "touches a"], ["overlaps"], ["too far"]]
    assert planned[0].pauses == (0.0, 0.0)


def test_any_joins_what_recordings_leave_over_and_draws_pauses() -> None:
    planned = passages.plan_passages(SEGMENTS, rules("Any", timestamps=0.0, prompts=0.0), "0/0")
    assert sorted(names(planned)) == [["a", "b", "c"], ["d", "z", "alone"]]
    (pauses,) = (passage.pauses for passage in planned if passage.clips[0].identifier == "d")
    assert pauses[0] == 0.0
    assert all(0.2 <= pause <= 1.0 for pause in pauses[1:])


def test_any_joins_the_clips_of_a_speaker_first() -> None:
    planned = passages.plan_passages(clips_of(12, speakers=4), rules(), "0/0")
    assert sorted([clip.speaker for clip in passage.clips] for passage in planned) == [
        [speaker] * 3 for speaker in "0123"
    ]


def test_a_plan_is_what_it_always_was() -> None:
    """Written down: a run that is resumed by another version must take these very passages."""
    planned = passages.plan_passages(clips_of(7), rules(), "3/0")
    assert [(names((passage,))[0], passage.has_timestamps, passage.text_before) for passage in planned] == [
        (["6", "0", "1"], True, ""),
        (["2", "3", "5"], True, ""),
        (["4"], False, "text 2 text 3 text 5"),
    ]
    assert planned[0].pauses == pytest.approx((0.0, 0.7751017978693739, 0.33312181884860037), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("packing", ["Recording", "Any"])
def test_every_clip_is_in_one_passage_none_too_long_none_with_too_many_tokens(packing: str, seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311 -- nothing secret
    found = [
        segment(f"{number}", f"{number // 20}.wav", 5.0 * number, generator.uniform(0.2, 30.0), str(number % 3))
        if number % 2
        else Clip(f"{number}", WholeFile(""), "x" * generator.randint(1, 90), generator.uniform(0.2, 30.0))
        for number in range(200)
    ]
    of_run = rules(packing, most_tokens=100)
    planned = passages.plan_passages(found, of_run, f"{seed}/0")
    assert sorted(clip.identifier for passage in planned for clip in passage.clips) == sorted(
        clip.identifier for clip in found
    )
    assert max(passage.seconds for passage in planned) <= 30.0
    assert max(sum(map(of_run.cost, passage.clips)) for passage in planned) <= 100
    assert all(len(passage.clips) == len(passage.pauses) for passage in planned)
    assert planned == passages.plan_passages(found, of_run, f"{seed}/0")
    assert len(planned) < len(found)


def test_epochs_differ_and_so_do_seeds() -> None:
    plans = {str(names(passages.plan_passages(clips_of(60), rules(), key))) for key in ("0/0", "0/1", "1/0", "1/1")}
    assert len(plans) == 4


def test_clips_of_8_s_need_at_most_two_fifths_of_the_passes() -> None:
    for speakers in (0, 50):
        planned = passages.plan_passages(clips_of(1000, speakers=speakers), rules(), "0/0")
        assert len(planned) <= 400


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.2, 30, 110), (1.0, 334, 400)])
def test_shares_are_those_of_the_windows(share: float, least: int, most: int) -> None:
    planned = passages.plan_passages(clips_of(1000), rules(timestamps=share, prompts=share), "0/0")
    assert least <= sum(passage.has_timestamps for passage in planned) <= most
    # Nothing was said before the first.
    assert max(least - 1, 0) <= sum(bool(passage.text_before) for passage in planned) <= most


def test_a_text_with_no_room_for_timestamps_goes_without() -> None:
    (planned,) = passages.plan_passages(clips_of(1), rules(timestamps=1.0, most_tokens=len("text 0") + 1), "0/0")
    assert not planned.has_timestamps


def test_whole_steps_are_filled_where_there_are_enough_clips() -> None:
    found = clips_of(20)
    planned = passages.plan_passages(found, rules(), "0/0", multiple_of=8)
    assert len(planned) == 8
    assert {clip.identifier for passage in planned for clip in passage.clips} == {clip.identifier for clip in found}
    assert len(passages.plan_passages(clips_of(5), rules(), "0/0", multiple_of=8)) == 2


def test_recording_is_refused_where_no_two_clips_are_neighbours() -> None:
    apart = [segment("a", "1.wav", 0.0, 8.0), segment("b", "1.wav", 60.0, 8.0), *clips_of(3)]
    with pytest.raises(TrainerError, match=r"of 5 train clips 2 are segments .*take packing: Any") as refused:
        passages.count_passages(apart, rules("Recording"), 0)
    assert refused.value.reason == "DatasetInvalid"


def test_what_packing_changes_is_said_in_words() -> None:
    counted = passages.count_passages(clips_of(9), rules(timestamps=1.0, prompts=0.0), 0)
    assert counted.in_words() == (
        "9 clips are packed into 3 windows an epoch, 0.33 of the passes without packing; 3 windows have timestamps, 0 "
        "have the text before them as prompt"
    )


def by_micro_batches(block: Any) -> list[Any]:
    return train_steps.divide_into_batches(block, lambda _: 30, StepSize(4, 2), rules())


def by_samples(block: Any) -> list[Any]:
    return clip_sampler.divide_into_samples(block, 4, rules())


PACKED = ListedClips(tuple(clips_of(37, seconds=11.0)), 3, "0.1").packed()


@pytest.mark.parametrize("divide", [by_micro_batches, by_samples])
@pytest.mark.parametrize("taken", [1, 4, 9, 14])
def test_steps_of_passages_go_on_from_the_state_of_any_step(divide: Any, taken: int) -> None:
    first: StepOrder[Any] = StepOrder(PACKED, 4, divide)
    with first.after(0) as steps:
        whole = list(islice(steps, 24))
    for _, position in whole[:taken]:
        first.took(position)
    second: StepOrder[Any] = StepOrder(PACKED, 4, divide)
    second.load_state(first.state())
    with second.after(taken) as steps:
        assert [step for step, _ in islice(steps, 8)] == [step for step, _ in whole[taken : taken + 8]]


def test_no_clip_of_an_epoch_is_lost_on_ipus() -> None:
    with PACKED.blocks(Cursor(), 4, lambda: None) as blocks:
        steps = by_samples(next(blocks))
    taken = [clip.identifier for step in steps for passage in step for clip in passage.clips]
    assert sorted(taken) == sorted(clip.identifier for clip in PACKED.listed)
