"""Which clips are held out where they are segments of recordings: no train clip is of a held-out clip's recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tones
from layout_checks import load
from test_segments import write_nemo
from whisper_finetune_trainer.data import held_out
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, RecordingSegment, WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.messages.errors import TrainerError

RATE = 100
FIRST_OF_40 = [0, 27, 12, 21, 29, 15, 38, 34]


def part(recording: int, start: float, seconds: float = 10.0) -> Clip:
    place = RecordingSegment(WholeFile(f"talk-{recording}.flac"), round(start * RATE), round(seconds * RATE), RATE)
    return Clip(f"talk-{recording}.flac {start}", place, "uno", seconds)


def whole(recording: int, seconds: float = 100.0) -> Clip:
    return Clip(f"talk-{recording}.flac", WholeFile(f"talk-{recording}.flac"), "uno", seconds)


def seconds_of(clip: Clip) -> tuple[float, float]:
    assert isinstance(clip.audio, RecordingSegment)
    start = clip.audio.start_frame / clip.audio.sample_rate
    return start, start + clip.seconds


def overlap(one: Clip, other: Clip) -> float:
    if one.audio.file != other.audio.file:
        return 0.0
    (start, end), (other_start, other_end) = seconds_of(one), seconds_of(other)
    return min(end, other_end) - max(start, other_start)


def test_clips_that_are_no_parts_are_drawn_one_by_one() -> None:
    clips = [whole(number) for number in range(40)]
    chosen = held_out.choose_held_out(clips, 0.2)
    # Random(0).shuffle, and the first fifth of it: runs under way hold out these.
    assert [clips.index(clip) for clip in chosen.evaluation] == FIRST_OF_40
    assert sorted([*chosen.train, *chosen.evaluation], key=clips.index) == clips
    assert chosen.overlapping == []


@pytest.mark.parametrize("step_seconds", [1.0, 10.0])
def test_at_most_one_recording_is_cut_and_nothing_of_it_is_on_both_sides(step_seconds: float) -> None:
    clips = [part(recording, step_seconds * place) for recording in range(7) for place in range(30)]
    chosen = held_out.choose_held_out(clips, 0.2)
    assert len(chosen.evaluation) == 42
    assert sorted([*chosen.train, *chosen.evaluation, *chosen.overlapping], key=clips.index) == clips
    both = {clip.audio.file for clip in chosen.train} & {clip.audio.file for clip in chosen.evaluation}
    assert len(both) == 1
    assert max(overlap(clip, other) for clip in chosen.train for other in chosen.evaluation) <= 0
    # The ten seconds before the cut, where segments begin every second; none where they lie beside each other.
    assert len(chosen.overlapping) == (9 if step_seconds == 1.0 else 0)
    cut = {clip.audio.file for clip in chosen.evaluation} & both
    last_trained_on = max(seconds_of(clip)[1] for clip in chosen.train if clip.audio.file in cut)
    assert last_trained_on <= min(seconds_of(clip)[0] for clip in chosen.evaluation if clip.audio.file in cut)


def test_the_choice_knows_no_order_of_rows_and_no_place_that_a_recording_is_kept_in() -> None:
    clips = [part(recording, 10.0 * place) for recording in range(5) for place in range(10)]
    backwards = held_out.choose_held_out(clips[::-1], 0.3)
    assert backwards == held_out.choose_held_out(clips, 0.3)
    kept = []
    for number, clip in enumerate(clips):
        assert isinstance(clip.audio, RecordingSegment)
        place = ByteRange("/scratch/sounds", number, 5, clip.audio.file)
        kept.append(Clip(clip.identifier, clip.audio._replace(recording=place), clip.text, clip.seconds))
    names = [clip.identifier for clip in held_out.choose_held_out(kept, 0.3).evaluation]
    assert names == [clip.identifier for clip in backwards.evaluation]


def test_the_first_clips_of_either_side_are_of_several_recordings() -> None:
    chosen = held_out.choose_held_out(
        [part(recording, 10.0 * place) for recording in range(10) for place in range(20)], 0.4
    )
    for side in (chosen.train, chosen.evaluation):
        assert len({clip.audio.file for clip in side[:10]}) > 2


def test_a_recording_that_is_held_out_as_a_whole_too() -> None:
    assert held_out.find_overlapping([part(0, 5), part(1, 5)], [whole(0), whole(2)]) == [part(0, 5)]
    assert held_out.find_overlapping([whole(0), whole(1)], [part(0, 5)]) == [whole(0)]
    assert held_out.find_overlapping([whole(0)], [whole(0)]) == []


def test_segments_that_only_touch_by_rounding_do_not_overlap() -> None:
    evaluation = [part(0, 20.0), part(0, 50.0), part(0, 55.0)]
    near = [part(0, 10.02), part(0, 29.97), part(0, 39.0), part(0, 70.0)]
    assert held_out.find_overlapping([*near, part(0, 10.1), part(0, 29.9)], evaluation) == [
        part(0, 10.1),
        part(0, 29.9),
    ]
    assert held_out.find_overlapping([part(0, 0.0, 90.0), part(0, 57.0, 1.0)], evaluation) == [
        part(0, 0.0, 90.0),
        part(0, 57.0, 1.0),
    ]


def test_a_fraction_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(TrainerError, match="leaves 3 to train on and 0 to measure on"):
        held_out.choose_held_out([part(0, 0), part(0, 10), part(0, 20)], 0.01)


def largest_overlap(found: Clips) -> float:
    return max(overlap(clip, other) for clip in found.train.listed for other in found.evaluation)


def test_a_talk_in_overlapping_segments_is_held_out_at_its_end(tmp_path: Path) -> None:
    write_nemo(tmp_path / "clips", "train", [{"offset": float(start), "duration": 10.0} for start in range(50)])
    found = load(tmp_path)
    assert (len(found.evaluation), dict(found.dropped)) == (10, {"overlaps a held-out segment": 9})
    assert {seconds_of(clip)[0] for clip in found.evaluation} == set(map(float, range(40, 50)))
    assert largest_overlap(found) <= 0


def test_segments_that_overlap_those_of_a_given_split_are_reported_and_left_out_when_asked(tmp_path: Path) -> None:
    write_nemo(tmp_path / "clips", "train", [{"offset": 4.0 * number, "duration": 4.0} for number in range(15)])
    write_nemo(tmp_path / "clips", "test", [{"offset": 10.0, "duration": 3.0}, {"offset": 40.0, "duration": 4.0}])
    warned = load(tmp_path, evalSplit="test")
    said = [warning.split(": ")[0] for warning in warned.warnings if "dataset.removeDuplicates" in warning]
    assert said == [
        "1 train clips have the sound of a held-out one, such as talk.flac 40-44 s",
        "2 train clips overlap a held-out segment of their recording, such as talk.flac 8-12 s",
    ]
    assert (len(warned.train.listed), dict(warned.dropped)) == (15, {})
    removed = load(tmp_path, evalSplit="test", removeDuplicates=True)
    assert dict(removed.dropped) == {"overlaps a held-out segment": 2, "audio also held out": 1}
    assert largest_overlap(removed) <= 0


def spoken(sizes: dict[str, int]) -> list[Clip]:
    """Return clips of speakers, one speaker after the other."""
    return [
        Clip(f"{speaker}-{number}.wav", WholeFile(f"{speaker}-{number}.wav"), "uno", 1.0, speaker)
        for speaker, size in sizes.items()
        for number in range(size)
    ]


def speakers(clips: list[Clip]) -> set[str]:
    return {clip.speaker for clip in clips}


def test_no_speaker_is_on_both_sides() -> None:
    clips = spoken({f"speaker-{number}": 3 + number % 5 for number in range(40)})
    chosen = held_out.choose_held_out(clips, 0.2)
    assert not speakers(chosen.train) & speakers(chosen.evaluation)
    assert sorted([*chosen.train, *chosen.evaluation], key=clips.index) == clips
    assert 0.8 * 0.2 * len(clips) < len(chosen.evaluation) <= 0.2 * len(clips)
    backwards = held_out.choose_held_out(clips[::-1], 0.2)
    assert speakers(backwards.evaluation) == speakers(chosen.evaluation)


def test_clips_are_drawn_one_by_one_where_the_spec_says_so_as_where_no_speaker_is_known() -> None:
    clips = spoken({f"speaker-{number}": 1 for number in range(40)})
    chosen = held_out.choose_held_out(clips, 0.2, by_speaker=False)
    assert [clips.index(clip) for clip in chosen.evaluation] == FIRST_OF_40


@pytest.mark.parametrize("sizes", [{"anna": 40}, {"anna": 25, "bruno": 15}], ids=["one speaker", "two speakers"])
def test_too_few_speakers_are_drawn_clip_by_clip(sizes: dict[str, int]) -> None:
    clips = spoken(sizes)
    assert [clips.index(clip) for clip in held_out.choose_held_out(clips, 0.2).evaluation] == FIRST_OF_40


def test_a_clip_without_a_speaker_is_trained_on() -> None:
    clips = [*spoken({f"speaker-{number}": 4 for number in range(20)}), *spoken({"": 20})]
    assert "" not in speakers(held_out.choose_held_out(clips, 0.2).evaluation)


def test_validation_clips_are_of_whole_speakers_too() -> None:
    clips = spoken({f"speaker-{number}": 6 for number in range(50)})
    chosen = held_out.choose_validation(clips, None, None)
    assert len(chosen.evaluation) == 30
    assert not speakers(chosen.train) & speakers(chosen.evaluation)


@pytest.mark.parametrize("column", ["speaker", "speaker_id", "client_id", "Speaker_ID"])
def test_a_list_names_its_speakers_in_a_column(tmp_path: Path, column: str) -> None:
    folder = tones.write_clips(tmp_path / "clips", 40)
    manifest = folder / "train.jsonl"
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    lines = (json.dumps({**row, column: number % 10}) for number, row in enumerate(rows))
    manifest.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    found = load(tmp_path)
    assert (len(found.evaluation), {clip.speaker for clip in found.evaluation} <= set(map(str, range(10)))) == (8, True)
    assert not speakers(list(found.evaluation)) & speakers(list(found.train.listed))
    one_by_one = load(tmp_path, holdOut="Clips")
    assert len(one_by_one.evaluation) == 8
    assert len(speakers(list(one_by_one.evaluation))) > 2
