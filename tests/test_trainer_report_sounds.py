"""Clips as sound inside of a page: what fits, what is left out."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tiny_whisper
from whisper_finetune_trainer import clip_sounds
from whisper_finetune_trainer.clips import Clip

RATE = tiny_whisper.SAMPLE_RATE


def write(folder: Path, name: str, seconds: float) -> Clip:
    soundfile.write(folder / name, tiny_whisper.tone(len(name), seconds), RATE)
    return Clip(name, str(folder / name), "uno", seconds)


def sound_of(uri: str) -> tuple[np.ndarray, int]:
    assert uri.startswith("data:audio/mpeg;base64,")
    return soundfile.read(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_clip_can_be_heard_again(tmp_path: Path) -> None:
    clip = write(tmp_path, "a.wav", 1.5)
    samples, rate = sound_of(clip_sounds.data_uris([clip])["a.wav"])
    assert rate == RATE
    assert len(samples) == pytest.approx(1.5 * RATE, abs=RATE / 10)
    # The tone that was spoken is the tone that is heard.
    spectrum = np.abs(np.fft.rfft(samples))
    original = np.abs(np.fft.rfft(tiny_whisper.tone(5, 1.5), n=len(samples)))
    assert spectrum.argmax() == pytest.approx(original.argmax(), abs=2)


def test_half_a_minute_of_noise_fits() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, 30 * RATE).astype(np.float32)
    assert len(base64.b64encode(clip_sounds.mp3(noise))) < 133_000


def test_what_does_not_fit_is_left_out_and_what_follows_is_not(tmp_path: Path) -> None:
    clips = [write(tmp_path, "long.wav", 8.0), write(tmp_path, "short.wav", 0.5)]
    assert list(clip_sounds.data_uris(clips, largest_clip=10_000)) == ["short.wav"]
    sizes = {name: len(uri) for name, uri in clip_sounds.data_uris(clips).items()}
    assert list(clip_sounds.data_uris(clips, largest_total=sizes["long.wav"])) == ["long.wav"]
    assert list(clip_sounds.data_uris(clips, largest_total=sum(sizes.values()))) == ["long.wav", "short.wav"]


def test_a_clip_that_is_gone_leaves_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clips = [Clip("gone.wav", str(tmp_path / "gone.wav"), "uno", 1.0), write(tmp_path, "there.wav", 0.5)]
    assert list(clip_sounds.data_uris(clips)) == ["there.wav"]
    assert "the report goes without the sound of gone.wav" in caplog.text
