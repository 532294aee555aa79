from pathlib import Path

import numpy as np
import pytest
import soundfile

from tiny_whisper import tone
from whisper_finetune_trainer import audio
from whisper_finetune_trainer.audio_places import WholeFile
from whisper_finetune_trainer.errors import TrainerError


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_files_of_any_format_are_read_as_mono_float32(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, tone(0, 1.0), 16_000)
    samples = audio.read(WholeFile(str(path)))
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert audio.seconds(WholeFile(str(path))) == pytest.approx(1.0, abs=0.1)
    assert len(samples) == pytest.approx(16_000, abs=1_600)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(0, 0.5), tone(1, 0.5)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(WholeFile(str(tmp_path / "stereo.wav"))), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_are_resampled_with_the_pitch_kept(tmp_path: Path, rate: int) -> None:
    wave = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, rate)
    samples = audio.read(WholeFile(str(tmp_path / "a.wav")))
    assert len(samples) == 16_000
    assert np.abs(np.fft.rfft(samples)).argmax() == 440


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, tone(0, 2.0), 16_000)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainerError, match=r"cut\.flac") as caught:
        audio.read(WholeFile(str(path)))
    assert caught.value.reason == "DatasetInvalid"


def test_a_file_without_sound_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), 16_000)
    with pytest.raises(TrainerError, match=r"empty\.wav holds no sound"):
        audio.read(WholeFile(str(tmp_path / "empty.wav")))
