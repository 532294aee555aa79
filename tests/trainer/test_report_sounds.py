"""Clips as sounds inside of a page: which fit, and which are left out."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import soundfile

from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.audio.decoding import SAMPLE_RATE as RATE
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.report import report_files


def tone(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def clip(name: str, seconds: float) -> Clip:
    return Clip(name, WholeFile(name), "uno", seconds)


def read(clip: Clip) -> np.ndarray:
    if clip.identifier == "gone.wav":
        raise TrainerError("DatasetInvalid", "gone.wav does not exist")
    return tone(clip.seconds)


def sound_of(uri: str) -> tuple[np.ndarray, int]:
    assert uri.startswith("data:audio/mpeg;base64,")
    return soundfile.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_clip_can_be_heard_again() -> None:
    samples, rate = sound_of(report_files.data_uris([clip("a.wav", 1.5)], read)["a.wav"])
    assert rate == RATE
    assert len(samples) == pytest.approx(1.5 * RATE, abs=RATE / 10)
    # The tone that was spoken is the tone that is heard.
    assert np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples) == pytest.approx(440, abs=5)


def test_half_a_minute_of_noise_fits() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, 30 * RATE).astype(np.float32)
    assert len(base64.b64encode(report_files.mp3(noise))) < 133_000


def test_what_does_not_fit_is_left_out_and_what_follows_is_not() -> None:
    clips = [clip("long.wav", 8.0), clip("short.wav", 0.5)]
    assert list(report_files.data_uris(clips, read, largest_clip=10_000)) == ["short.wav"]
    sizes = {name: len(uri) for name, uri in report_files.data_uris(clips, read).items()}
    assert list(report_files.data_uris(clips, read, largest_total=sizes["long.wav"])) == ["long.wav"]
    assert list(report_files.data_uris(clips, read, largest_total=sum(sizes.values()))) == ["long.wav", "short.wav"]


def test_a_clip_that_is_gone_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    clips = [clip("gone.wav", 1.0), clip("there.wav", 0.5)]
    assert list(report_files.data_uris(clips, read)) == ["there.wav"]
    assert "the report goes without the sound of gone.wav" in caplog.text


def test_a_clip_that_a_store_does_not_give_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def read_or_break(clip: Clip) -> np.ndarray:
        if clip.identifier.startswith("cut"):
            raise ConnectionResetError("the store went away")
        return read(clip)

    clips = [clip("cut-1.wav", 1.0), clip("cut-2.wav", 1.0), clip("there.wav", 0.5)]
    assert list(report_files.data_uris(clips, read_or_break)) == ["there.wav"]
    assert [record.message for record in caplog.records] == [
        "the report goes without the sound of cut-1.wav, and maybe of others: the store went away"
    ]


def test_a_store_that_is_gone_is_not_asked_for_every_clip() -> None:
    asked: list[str] = []

    def break_off(clip: Clip) -> np.ndarray:
        asked.append(clip.identifier)
        raise TimeoutError

    assert report_files.data_uris([clip(f"{number}.wav", 0.5) for number in range(20)], break_off) == {}
    assert len(asked) == 3
