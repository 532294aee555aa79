"""How one channel is made of several: the average, unless the speech cancels out in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import tones
from layout_checks import load, refusal
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, RecordingSegment, WholeFile

RATE = 16_000
LEFT = tones.tone(0, 1.0)
RIGHT = tones.tone(1, 1.0)
NOISE = 0.001 * np.random.default_rng(0).standard_normal(len(LEFT)).astype(np.float32)
TURNED_IN_THE_MIDDLE = np.concatenate([LEFT[: RATE // 2], -LEFT[RATE // 2 :]])

KEPT = {
    "different": [LEFT, RIGHT],
    "the same": [LEFT, LEFT],
    "one silent": [LEFT, 0 * LEFT],
    "one of eight": [LEFT, *[0 * LEFT] * 7],
    "a phase turned over in one of three": [LEFT, LEFT, -LEFT],
    "half as loud the other way round": [LEFT, -0.5 * LEFT],
    "one speaker after the other": [LEFT * (np.arange(RATE) < RATE / 2), RIGHT * (np.arange(RATE) >= RATE / 2)],
    "silence": [0 * LEFT, 0 * LEFT],
}
CANCELLED = {
    "opposite": [-0.9 * LEFT, LEFT],
    "opposite but for noise": [-0.95 * LEFT, LEFT + NOISE],
    "turned over in the middle": [0.95 * TURNED_IN_THE_MIDDLE, LEFT],
    "two pairs": [-0.9 * LEFT, LEFT, 0.5 * RIGHT, -0.5 * RIGHT],
    "one of thirty-two": [*[0 * LEFT] * 31, LEFT],
}


@pytest.mark.parametrize("found", KEPT.values(), ids=KEPT)
def test_channels_are_averaged(found: list[np.ndarray]) -> None:
    samples, is_one_channel = decoding.mix_down(np.stack(found, axis=1), RATE)
    assert not is_one_channel
    np.testing.assert_array_equal(samples, np.stack(found, axis=1).mean(axis=1))


@pytest.mark.parametrize("found", CANCELLED.values(), ids=CANCELLED)
def test_of_channels_that_cancel_each_other_the_loudest_is_taken(found: list[np.ndarray]) -> None:
    samples, is_one_channel = decoding.mix_down(np.stack(found, axis=1), RATE)
    assert is_one_channel
    np.testing.assert_array_equal(samples, max(found, key=lambda channel: float(np.abs(channel).sum())))


def write(path: Path, *found: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> WholeFile:
    soundfile.write(path, np.stack(found, axis=1), rate, subtype=subtype)
    return WholeFile(str(path))


def test_what_is_measured_is_what_is_trained_on(tmp_path: Path) -> None:
    place = write(tmp_path / "a.wav", -0.9 * LEFT, LEFT)
    found = decoding.measure_loudness(place)
    assert found.is_one_channel
    assert found.peak == pytest.approx(float(np.abs(LEFT).max()), abs=1e-3)
    np.testing.assert_array_equal(decoding.read_samples(place), LEFT)


def test_what_no_sound_of_16_khz_holds_is_silence(tmp_path: Path) -> None:
    # It swells and fades: a tone that begins at once is heard as a click.
    ultrasound = np.hanning(48_000) * np.sin(2 * np.pi * 15_000 * np.arange(48_000) / 48_000)
    assert decoding.measure_loudness(write(tmp_path / "a.wav", ultrasound.astype(np.float32), rate=48_000)).peak < 0.001


def test_a_steady_voltage_is_silence(tmp_path: Path) -> None:
    assert decoding.measure_loudness(write(tmp_path / "a.wav", np.full(RATE, 0.3, np.float32))).peak < 1e-6


def test_a_part_of_a_recording_is_measured_by_itself(tmp_path: Path) -> None:
    recording = write(tmp_path / "a.wav", TURNED_IN_THE_MIDDLE, LEFT)
    first, second = (
        decoding.measure_loudness(RecordingSegment(recording, start, RATE // 2, RATE)) for start in (0, RATE // 2)
    )
    assert (first.is_one_channel, second.is_one_channel) == (False, True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_not_trained_on(tmp_path: Path, value: float) -> None:
    samples = LEFT.copy()
    samples[3] = value
    with pytest.raises(decoding.UndecodableError, match=r"a\.wav has samples that are not numbers"):
        decoding.read_samples(write(tmp_path / "a.wav", samples))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    tones.write_clips(tmp_path / "clips", 20)
    return tmp_path


def rewrite(volume: Path, count: int, *found: np.ndarray) -> None:
    for number in range(count):
        write(volume / f"clips/audio/train-{number:04d}.wav", *found)


def test_channels_that_cancel_each_other_are_reported(volume: Path) -> None:
    rewrite(volume, 3, -LEFT, LEFT)
    said = "3 of 20 sampled clips: their channels cancel each other, so only the louder one is heard"
    assert load(volume).warnings == (f"{said}, such as audio/train-0000.wav",)


def test_whole_numbers_written_as_floats_are_reported(volume: Path) -> None:
    rewrite(volume, 1, 32_768 * LEFT)
    said = "1 of 20 sampled clips: far beyond full scale, like integers that were written as floats"
    assert load(volume).warnings == (f"{said}, such as audio/train-0000.wav",)


BOUND = "are more than the 384,000 samples a second that are decoded at most; convert it, such as by `ffmpeg"


def test_a_sound_that_takes_more_memory_than_speech_is_left_out_by_its_name(volume: Path) -> None:
    path = volume / "clips/audio/train-0000.flac"
    soundfile.write(path, np.zeros((65_535, 8), np.int16), 655_350)
    path.rename(path.with_suffix(".wav"))
    found = load(volume)
    assert dict(found.dropped) == {"unreadable audio": 1}
    said = f"audio file audio/train-0000.wav cannot be read: 8 channels of 655,350 Hz {BOUND}"
    assert said in found.examples[0]


@pytest.mark.parametrize("kind", ["file", "member", "part"])
def test_it_is_not_decoded_wherever_it_lies(tmp_path: Path, kind: str) -> None:
    whole = write(tmp_path / "a.wav", *[LEFT] * 25)
    size = (tmp_path / "a.wav").stat().st_size
    place = {
        "file": whole,
        "member": ByteRange(whole.file, 0, size, "a"),
        "part": RecordingSegment(whole, 0, 10, RATE),
    }[kind]
    with pytest.raises(decoding.UndecodableError, match="25 channels of 16,000 Hz"):
        decoding.read_samples(place)
    assert decoding.read_samples(write(tmp_path / "b.wav", *[LEFT] * 24)).shape == (RATE,)


def test_all_of_them_make_the_data_set_invalid(volume: Path) -> None:
    rewrite(volume, 20, *[LEFT] * 25)
    assert "20 of 20 clips cannot be used" in refusal(volume).message
