"""Clips that are segments of long recordings: NeMo's offset and Kaldi's `segments`, on a volume."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import data_layouts
import layout_checks
from layout_checks import load, refusal
from tones import SAMPLE_RATE, tone
from whisper_finetune_trainer.data import clips
from whisper_finetune_trainer.data.audio import audio_files, audio_sources, decoding
from whisper_finetune_trainer.data.audio.audio_locator import AudioLocator, ExtractedAudio
from whisper_finetune_trainer.data.audio.audio_sources import (
    ByteRange,
    MalformedSegmentError,
    OutsideError,
    RecordingSegment,
    Segment,
    WholeFile,
)
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.layouts import row_columns
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.messages.errors import TrainerError, quoted
from whisper_finetune_trainer.report import report_files

RATE = SAMPLE_RATE
MANIFEST: dict[str, tuple[dict[str, Any], Segment | None]] = {
    "neither": ({}, None),
    "a duration alone is the file's": ({"duration": 3.5}, None),
    "an empty offset": ({"offset": "", "duration": "3.5"}, None),
    "no offset": ({"offset": None, "duration": 3.5}, None),
    "both": ({"offset": 1.5, "duration": 2}, Segment(1.5, 3.5)),
    "as words": ({"offset": "1.5", "duration": "2"}, Segment(1.5, 3.5)),
    "from the start": ({"offset": 0, "duration": 2.25}, Segment(0.0, 2.25)),
    "to the end": ({"offset": 7.5}, Segment(7.5, None)),
}
MALFORMED: dict[str, dict[str, Any]] = {
    "words": {"offset": "soon", "duration": 1},
    "a list": {"offset": [1], "duration": 1},
    "not a number": {"offset": float("nan"), "duration": 1},
    "for ever": {"offset": 1, "duration": float("inf")},
    "a boolean": {"offset": True, "duration": 1},
    "before the start": {"offset": -1, "duration": 2},
    "no length": {"offset": 1, "duration": 0},
    "backwards": {"offset": 5, "duration": -2},
}
#: Segments of a recording of 100 s at 10 Hz.
FRAMES: dict[str, tuple[Segment, tuple[int, int] | None]] = {
    "in the middle": (Segment(10, 12.5), (100, 25)),
    "to the end": (Segment(99.5), (995, 5)),
    "a little beyond": (Segment(99, 100.4), (990, 10)),
    "far beyond": (Segment(99, 100.6), None),
    "behind": (Segment(100, 100.2), None),
    "wholly behind": (Segment(200), None),
    "shorter than a frame": (Segment(10.01, 10.02), None),
}


@pytest.mark.parametrize(("values", "expected"), MANIFEST.values(), ids=MANIFEST)
def test_what_a_manifest_says(values: dict[str, Any], expected: Segment | None) -> None:
    assert row_columns.find_segment(values) == expected


@pytest.mark.parametrize("values", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_segment(values: dict[str, Any]) -> None:
    with pytest.raises(MalformedSegmentError, match="is not a segment"):
        row_columns.find_segment(values)


@pytest.mark.parametrize(("segment", "expected"), FRAMES.values(), ids=FRAMES)
def test_frames_of_a_segment(segment: Segment, expected: tuple[int, int] | None) -> None:
    if expected is not None:
        assert audio_sources.frames_of_segment(segment, 1_000, 10) == expected
        return
    with pytest.raises(OutsideError, match=r"lasts 100\.00 s, and does not contain the segment"):
        audio_sources.frames_of_segment(segment, 1_000, 10)


#: Segments of a recording, its length, and whether they mean all of it.
WHOLE: dict[str, tuple[Segment, float, bool]] = {
    "rounded": (Segment(0, 5.27), 5.2734, True),
    "an MP3 file that another tool measured": (Segment(0, 5.2), 5.29, True),
    "to the end": (Segment(0), 3600.0, True),
    "one word of two": (Segment(0, 0.5), 1.0, False),
    "not from the start": (Segment(0.01, 5.0), 5.0, False),
    "a little longer": (Segment(0, 60.4), 60.0, True),
    "longer": (Segment(0, 61), 60.0, False),
}


@pytest.mark.parametrize(("segment", "seconds", "expected"), WHOLE.values(), ids=WHOLE)
def test_when_a_segment_is_all_of_its_recording(segment: Segment, seconds: float, expected: object) -> None:
    assert audio_sources.is_whole_recording(segment, seconds) is expected


@pytest.mark.parametrize(
    ("segment", "name"),
    [(Segment(0, 5), "0-5 s"), (Segment(3600.125, 3610.0001), "3600.125-3610 s"), (Segment(10), "10- s")],
)
def test_names_of_segments(segment: Segment, name: str) -> None:
    assert str(segment) == name


def write_talk(path: Path, seconds: float = 60.0, rate: int = RATE) -> np.ndarray:
    """Write a recording of tones whose pitch changes every second; return its samples."""
    whole, encoded = talk(path.suffix[1:].upper(), int(seconds), rate)
    path.write_bytes(encoded)
    return whole


@functools.cache
def talk(name_of_format: str, seconds: int, rate: int) -> tuple[np.ndarray, bytes]:
    whole = np.concatenate([tone(second, 1.0)[: rate * 1] for second in range(seconds)])
    whole.setflags(write=False)
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", rate, 1, format=name_of_format) as file:
        # Encoders of lossy formats take seconds, not minutes, at a time.
        for start in range(0, len(whole), RATE):
            file.write(whole[start : start + RATE])
    return whole, encoded.getvalue()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("start", [0.0, 0.37, 29.9, 55.0])
def test_a_part_is_what_the_whole_has_there(tmp_path: Path, suffix: str, start: float) -> None:
    path = tmp_path / f"talk.{suffix}"
    write_talk(path)
    whole, rate = soundfile.read(path, dtype="float32")
    part, seconds = AudioLocator(ExtractedAudio(str(tmp_path), 0)).locate(
        WholeFile(str(path)), Segment(start, start + 5)
    )
    assert isinstance(part, RecordingSegment)
    assert seconds == audio_files.read_seconds(part) == 5.0
    first = round(start * rate)
    np.testing.assert_allclose(decoding.read_samples(part), whole[first : first + 5 * rate], atol=1e-6)


def test_a_part_of_a_member_at_another_rate_and_in_stereo(tmp_path: Path) -> None:
    left, right = write_talk(tmp_path / "left.wav", 20), write_talk(tmp_path / "right.wav", 20) / 2
    soundfile.write(tmp_path / "talk.wav", np.stack([left, right], axis=1), 32_000, subtype="FLOAT")
    content = (tmp_path / "talk.wav").read_bytes()
    (tmp_path / "many").write_bytes(b"before" + content + b"after")
    part = RecordingSegment(ByteRange(str(tmp_path / "many"), 6, len(content), "talk.wav"), 2 * 32_000, 32_000, 32_000)
    assert len(decoding.read_samples(part)) == RATE
    assert decoding.measure_loudness(part).sample_rate == 32_000
    loudest = np.abs((left + right)[2 * 32_000 : 3 * 32_000] / 2).max()
    assert decoding.measure_loudness(part).peak == pytest.approx(float(loudest), abs=0.02)
    assert audio_sources.describe_source(part) == f"2.00 s to 3.00 s of talk.wav of {quoted(tmp_path / 'many')}"


def test_a_recording_that_is_cut_after_it_was_listed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    write_talk(path, 20)
    part, _ = AudioLocator(ExtractedAudio(str(tmp_path), 0)).locate(WholeFile(str(path)), Segment(10, 15))
    path.write_bytes(path.read_bytes()[: 12 * 2 * RATE])
    with pytest.raises(TrainerError, match=r"10.00 s to 15.00 s of .*talk.wav cannot be decoded: .*ends before") as cut:
        decoding.read_samples(part)
    assert cut.value.reason == "DatasetInvalid"


def identifiers(found: Clips) -> set[str]:
    return {clip.identifier for clip in (*found.train.listed, *found.evaluation)}


@pytest.mark.parametrize("write", [data_layouts.nemo_segments, data_layouts.kaldi_segments])
def test_segments_are_the_single_clips_to_the_bit(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "clips")
    single = {text: name for name, text in data_layouts.SPOKEN.items()}
    found = load(tmp_path)
    for clip in (*found.train.listed, *found.evaluation):
        assert isinstance(clip.audio, RecordingSegment)
        (tmp_path / "single.flac").write_bytes(data_layouts.encoded(single[clip.text]))
        alone = WholeFile(str(tmp_path / "single.flac"))
        np.testing.assert_array_equal(decoding.read_samples(clip.audio), decoding.read_samples(alone))
        assert clip.seconds == audio_files.read_seconds(alone)


def test_what_segments_go_by(tmp_path: Path) -> None:
    data_layouts.kaldi_segments(tmp_path / "kaldi")
    data_layouts.nemo_segments(tmp_path / "nemo")
    assert identifiers(load(tmp_path, "pvc://speech/kaldi")) == {f"utt-{name}" for name in data_layouts.SPOKEN}
    assert "talks/recording-1.flac 0.25-0.8 s" in identifiers(load(tmp_path, "pvc://speech/nemo"))


def test_a_row_that_is_all_of_its_file_is_no_part(tmp_path: Path) -> None:
    data_layouts.nemo(tmp_path / "clips")
    found = load(tmp_path)
    assert {type(clip.audio) for clip in (*found.train.listed, *found.evaluation)} == {WholeFile}
    assert identifiers(found) == {f"wavs/{name}.wav" for name in data_layouts.SPOKEN}


def write_kaldi(folder: Path, lines: Sequence[str], texts: Sequence[str] | None = None) -> None:
    """Write ten good segments of a talk of a minute as u0 to u9, and more lines."""
    folder.mkdir(exist_ok=True)
    write_talk(folder / "talk.flac")
    names = [f"u{number}" for number in range(10)]
    segment_lines = [f"{name} rec {number * 5} {number * 5 + 4.5}" for number, name in enumerate(names)]
    (folder / "segments").write_text("\n".join([*segment_lines, *lines]), encoding="utf-8")
    said = [f"{name} uno" for name in [*names, *(line.split()[0] for line in lines)]] if texts is None else texts
    (folder / "text").write_text("\n".join(said), encoding="utf-8")
    (folder / "wav.scp").write_text("rec talk.flac\nlost lost.flac\nempty \n", encoding="utf-8")


KALDI: dict[str, tuple[str, str, str]] = {
    "beyond the end": (
        "v rec 58 61",
        "outside of its recording",
        "segments line 11: talk.flac lasts 60.00 s, and does not contain the segment 58-61 s",
    ),
    "no such recording": ("v other 1 2", "broken line", "segments line 11 names recording other, which has no path"),
    "a recording without a path": ("v empty 1 2", "broken line", "names recording empty, which has no path"),
    "backwards": (
        "v rec 5 4",
        "broken line",
        "segments line 11 of v is not a segment: it begins at 5 s and ends at 4 s",
    ),
    "before the start": ("v rec -1 4", "broken line", "segments line 11 of v is not a segment: it begins at -1"),
    "no numbers": ("v rec one two", "broken line", "'one' is not a number of seconds"),
    "too few fields": ("v rec 5", "broken line", "segments line 11 of v is not UTTERANCE RECORDING START END"),
    "a channel": ("v rec 5 6 1", "broken line", "channels cannot be chosen"),
    "twice": ("u3 rec 5 6", "broken line", "utterance u3 has no line in text, or had a segment before"),
    "missing recording": ("v lost 1 2", "missing audio file", "segments line 11: audio file lost.flac does not exist"),
    "too long": ("v rec 1 32", "too long", "segments line 11: v lasts 31.0 s; maxClipSeconds is 30"),
}


@pytest.mark.parametrize(("line", "reason", "example"), KALDI.values(), ids=KALDI)
def test_lines_of_segments_that_cannot_be_used(tmp_path: Path, line: str, reason: str, example: str) -> None:
    write_kaldi(tmp_path / "clips", [line])
    found = load(tmp_path)
    assert (dict(found.dropped), len(found.train.listed) + len(found.evaluation)) == ({reason: 1}, 10)
    assert example in found.examples[0]


def test_a_file_of_other_lines_is_refused_with_its_lines(tmp_path: Path) -> None:
    write_kaldi(tmp_path / "clips", [])
    (tmp_path / "clips/segments").write_text("u1,rec,0,1\nu2,rec,1,2\n", encoding="utf-8")
    error = refusal(tmp_path)
    assert error.reason == "DatasetInvalid"
    assert "segments line 1 of u1,rec,0,1 is not UTTERANCE RECORDING START END" in error.message


def test_a_recording_that_is_a_command_is_refused(tmp_path: Path) -> None:
    write_kaldi(tmp_path / "clips", [])
    (tmp_path / "clips/wav.scp").write_text(f"rec touch {tmp_path}/ran |\n", encoding="utf-8")
    assert "wav.scp line 1: rec is the output of a command" in refusal(tmp_path).message
    assert not (tmp_path / "ran").exists()


NEMO: dict[str, tuple[dict[str, Any], str, str]] = {
    "beyond the end": (
        {"offset": 59, "duration": 3},
        "outside of its recording",
        "line 11: talk.flac lasts 60.00 s, and does not contain the segment 59-62 s",
    ),
    "longer than the file": (
        {"offset": 0, "duration": 61},
        "outside of its recording",
        "does not contain the segment 0-61 s",
    ),
    "before the start": ({"offset": -2, "duration": 3}, "broken line", "line 11 is not a segment: it begins at -2"),
    "no number": ({"offset": "x", "duration": 3}, "broken line", "line 11 is not a segment: 'x' is not a number"),
    "to the end, too long": ({"offset": 10}, "too long", "talk.flac 10- s lasts 50.0 s"),
}


@pytest.mark.parametrize(("values", "reason", "example"), NEMO.values(), ids=NEMO)
def test_offsets_that_cannot_be_used(tmp_path: Path, values: dict[str, Any], reason: str, example: str) -> None:
    write_nemo(tmp_path / "clips", "train", [{"offset": 5.0 * number, "duration": 4.5} for number in range(10)])
    with (tmp_path / "clips/train_manifest.json").open("a", encoding="utf-8") as manifest:
        manifest.write(json.dumps({"audio_filepath": "talk.flac", "text": "uno", **values}))
    found = load(tmp_path)
    assert (dict(found.dropped), len(found.train.listed) + len(found.evaluation)) == ({reason: 1}, 10)
    assert example in found.examples[0]


def write_nemo(folder: Path, split: str, places: Sequence[dict[str, float]]) -> None:
    folder.mkdir(exist_ok=True)
    if not (folder / "talk.flac").exists():
        write_talk(folder / "talk.flac")
    rows = [{"audio_filepath": "talk.flac", "text": "uno", **place} for place in places]
    (folder / f"{split}_manifest.json").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("offset", [0.0, 321.5, "soon"])
def test_sounds_in_shards_are_whole_wherever_they_were_cut_from(tmp_path: Path, offset: object) -> None:
    members = [
        member
        for name, text in data_layouts.SPOKEN.items()
        for member in (
            (f"{name}.json", json.dumps({"text": text, "offset": offset, "duration": 9.0}).encode()),
            (f"{name}.flac", data_layouts.encoded(name)),
        )
    ]
    (tmp_path / "clips").mkdir()
    data_layouts.write_tar(tmp_path / "clips/train-0.tar", members)
    assert dict(load(tmp_path).dropped) == {}


def test_copies_among_segments_are_found(tmp_path: Path) -> None:
    """The tones repeat every eight seconds, and the noise on them does not: one segment is held out and trained on."""
    write_nemo(tmp_path / "clips", "train", [{"offset": float(start), "duration": 2.0} for start in range(0, 40, 2)])
    write_nemo(tmp_path / "clips", "test", [{"offset": 8.0, "duration": 2.0}, {"offset": 50.0, "duration": 2.0}])
    warned = load(tmp_path, evalSplit="test")
    assert "1 train clips have the sound of a held-out one, such as talk.flac 8-10 s" in warned.warnings[0]
    assert (len(warned.train.listed), dict(warned.dropped)) == (20, {})
    removed = load(tmp_path, evalSplit="test", removeDuplicates=True)
    assert (len(removed.train.listed), dict(removed.dropped)) == (19, {"audio also held out": 1})
    assert "talk.flac 8-10 s" not in {clip.identifier for clip in removed.train.listed}


def test_the_report_lets_each_segment_be_heard(tmp_path: Path) -> None:
    data_layouts.kaldi_segments(tmp_path / "clips")
    found = load(tmp_path)
    sounds = report_files.data_uris(found.evaluation, lambda clip: decoding.read_samples(clip.audio))
    assert set(sounds) == {clip.identifier for clip in found.evaluation}
    assert len(set(sounds.values())) == len(sounds)


def test_a_broken_segment_is_like_no_other_sound(tmp_path: Path) -> None:
    whole = WholeFile(str(tmp_path / "talk.wav"))
    write_talk(tmp_path / "talk.wav", 20)
    digests = {
        decoding.digest_audio(RecordingSegment(whole, start, RATE, RATE)) for start in (0, RATE, 30 * RATE, 40 * RATE)
    }
    assert len(digests) == 4
    assert decoding.digest_audio(RecordingSegment(whole, RATE, RATE, RATE)) in digests


def test_recordings_beyond_those_remembered_are_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whisper_finetune_trainer.data.audio.audio_locator._REMEMBERED", 1)
    data_layouts.nemo_segments(tmp_path / "clips")
    assert len(identifiers(load(tmp_path))) == 10


def test_rows_of_parquet_files_that_name_segments(tmp_path: Path) -> None:
    places = data_layouts.write_recordings(tmp_path / "clips/talks")
    columns = {
        "path": [f"talks/{file}" for file, _, _ in places.values()],
        "text": [data_layouts.SPOKEN[name] for name in places],
        "offset": [start for _, start, _ in places.values()],
        "duration": [end - start for _, start, end in places.values()],
    }
    data_layouts.write_parquet(tmp_path / "clips/train.parquet", columns)
    found = load(tmp_path)
    assert {type(clip.audio) for clip in found.train.listed} == {RecordingSegment}
    assert len(found.train.listed) + len(found.evaluation) == 10


def test_sounds_in_parquet_files_are_whole_wherever_they_were_cut_from(tmp_path: Path) -> None:
    columns = {
        "audio": [{"bytes": data_layouts.encoded(name), "path": f"{name}.flac"} for name in data_layouts.SPOKEN],
        "text": list(data_layouts.SPOKEN.values()),
        "offset": [100.0 * (number + 1) for number in range(data_layouts.COUNT)],
        "duration": [data_layouts.seconds(name) for name in data_layouts.SPOKEN],
    }
    (tmp_path / "clips").mkdir()
    data_layouts.write_parquet(tmp_path / "clips/train.parquet", columns)
    layout_checks.check(load(tmp_path))


def test_corrected_segments_are_another_data_set_and_other_clips_what_they_were(tmp_path: Path) -> None:
    write_kaldi(tmp_path / "clips", [])
    found = load(tmp_path)
    before = clips.digest_of_clips(found.train.listed)
    listed = tmp_path / "clips/segments"
    line = f"{found.train.listed[0].identifier} rec "
    start = 5 * int(found.train.listed[0].identifier[1:])
    for corrected in (f"{line}{start} {start + 4}", f"{line}{start + 0.5} {start + 4.5}"):
        lines = [corrected if old.startswith(line) else old for old in listed.read_text(encoding="utf-8").split("\n")]
        listed.write_text("\n".join(lines), encoding="utf-8")
        after = load(tmp_path).train.listed
        assert [clip.identifier for clip in after] == [clip.identifier for clip in found.train.listed]
        assert clips.digest_of_clips(after) != before
    # Runs under way go on: this is sha256 of the JSON of names and texts.
    whole = Clip("a.wav", WholeFile("/data/a.wav"), "è così", 1.0)
    assert clips.digest_of_clips((whole,)) == "2e97cd338e7f3d3d4b547813918fd459314da49d6293eb5ff30edc8598262cd8"
