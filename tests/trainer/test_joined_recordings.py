"""How held-out clips are joined to recordings of minutes: in which order, with which pauses, and how much of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tones import SAMPLE_RATE, tone
from whisper_finetune_trainer.data import joined_recordings
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, RecordingSegment, WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.joined_recordings import JoinedRecording, PlacedClip

RATE = 100


def whole(name: str, seconds: float, speaker: str = "") -> Clip:
    return Clip(name, WholeFile(name), name, seconds, speaker)


def segment(talk: str, start: float, seconds: float, speaker: str = "") -> Clip:
    recording = RecordingSegment(WholeFile(talk), round(start * RATE), round(seconds * RATE), RATE)
    return Clip(f"{talk} {start:.0f}", recording, "uno", seconds, speaker)


def shown(recordings: tuple[JoinedRecording, ...]) -> list[list[tuple[str, float]]]:
    return [
        [(part.clip.identifier, round(part.start_seconds, 2)) for part in recording.placed] for recording in recordings
    ]


def test_segments_of_a_recording_come_in_their_order_with_their_own_pauses() -> None:
    clips = [segment("talk", start, 28.0) for start in (60.0, 0.0, 30.0, 100.0, 127.0)]
    # Of the twelve seconds without a held-out text three are left. The last two segments overlap by one.
    assert shown(joined_recordings.join_clips(clips)) == [
        [("talk 0", 0.0), ("talk 30", 30.0), ("talk 60", 60.0), ("talk 100", 91.0), ("talk 127", 119.0)]
    ]


def test_recordings_of_one_name_in_two_shards_are_not_mixed() -> None:
    clips = [
        Clip(
            f"{shard} {start}",
            RecordingSegment(ByteRange(shard, 0, 10, "talk"), start * RATE, 28 * RATE, RATE),
            "",
            28.0,
        )
        for start in (0, 30, 60)
        for shard in ("a.tar", "b.tar")
    ]
    assert shown(joined_recordings.join_clips(clips)) == [
        [(f"{shard} 0", 0.0), (f"{shard} 30", 30.0), (f"{shard} 60", 60.0)] for shard in ("a.tar", "b.tar")
    ]


def test_clips_without_a_recording_are_joined_by_speaker_and_the_rest_as_they_come() -> None:
    clips = [whole(f"{name}{number}", 25.0, name) for number in range(3) for name in "ab"]
    clips += [whole(f"c{number}", 25.0, "c") for number in range(2)] + [whole("d", 25.0)]
    assert shown(joined_recordings.join_clips(clips)) == [
        [("a0", 0.0), ("a1", 26.21), ("a2", 52.01)],
        [("b0", 0.0), ("b1", 25.91), ("b2", 51.7)],
        [("c0", 0.0), ("c1", 26.0), ("d", 52.39)],
    ]


def test_segments_of_a_recording_that_is_too_short_are_joined_with_others() -> None:
    clips = [segment("long", 10.0 * start, 9.0) for start in range(14)] + [segment("short", 0.0, 20.0)]
    clips += [whole(f"{number}", 25.0) for number in range(2)]
    found = joined_recordings.join_clips(clips)
    assert [round(recording.seconds) for recording in found] == [139, 72]
    assert [part.clip.identifier for part in found[1].placed] == ["short 0", "0", "1"]


@pytest.mark.parametrize(("clips", "recordings"), [(9, 0), (11, 1), (12, 1), (20, 3), (40, 6)])
def test_recordings_last_one_to_two_and_a_half_minutes(clips: int, recordings: int) -> None:
    found = joined_recordings.join_clips([whole(str(number), 11.0) for number in range(clips)])
    assert len(found) == recordings
    assert all(60 <= recording.seconds <= 150 for recording in found)


def test_a_clip_is_in_one_recording_at_most_and_all_are_joined_where_that_is_little() -> None:
    clips = [whole(str(number), 4.0 + number % 9, "abcd"[number % 4]) for number in range(80)]
    joined = [part.clip for recording in joined_recordings.join_clips(clips) for part in recording.placed]
    assert sorted(joined, key=clips.index) == clips


@pytest.mark.parametrize(
    ("clips", "seconds", "least", "most"),
    [
        # Never more than 20 minutes; half a window for each clip; but five minutes of a few long clips.
        (500, 8.0, 900, 1200),
        (40, 30.0, 300, 600),
        (12, 30.0, 120, 300),
    ],
)
def test_how_much_is_joined_is_bounded(clips: int, seconds: float, least: float, most: float) -> None:
    found = joined_recordings.join_clips([whole(str(number), seconds) for number in range(clips)])
    assert least <= sum(recording.seconds for recording in found) <= most


def test_the_plan_is_the_same_each_time() -> None:
    clips = [whole(str(number), 30.0) for number in range(90)]
    found = joined_recordings.join_clips(clips)
    assert found == joined_recordings.join_clips(clips)
    # Where there are more than are joined, they are drawn, and are not the first ones.
    joined = [part.clip for recording in found for part in recording.placed]
    assert set(joined) - set(clips[: len(joined)])


def test_a_recording_sounds_as_its_clips_and_is_silent_between_them(tmp_path: Path) -> None:
    placed = []
    for number, start in enumerate((0.0, 1.5)):
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, tone(number, 1.0), SAMPLE_RATE, subtype="FLOAT")
        # A header that says a little more, and one that says a little less than there is.
        placed.append(PlacedClip(Clip(str(number), WholeFile(str(file)), "uno", 1.1 - 0.2 * number), start))
    expected = np.zeros(round(2.4 * SAMPLE_RATE), dtype=np.float32)
    expected[:SAMPLE_RATE] = tone(0, 1.0)
    expected[round(1.5 * SAMPLE_RATE) :] = tone(1, 1.0)[: round(0.9 * SAMPLE_RATE)]
    assert np.array_equal(joined_recordings.read_joined_samples(JoinedRecording(tuple(placed))), expected)
