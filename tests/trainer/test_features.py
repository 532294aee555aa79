import os
import subprocess
from typing import Any

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor

from repository import ROOT
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.model import examples


def speech(seconds: float, amplitude: float = 0.3) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return noise whose loudness changes, as speech's does."""
    samples = int(seconds * decoding.SAMPLE_RATE)
    loudness = amplitude * np.abs(np.sin(np.arange(samples) / 5000))
    return (np.random.default_rng(0).normal(0, 1, samples) * loudness).astype(np.float32)


@pytest.mark.parametrize("mel_bins", [80, 128])
@pytest.mark.parametrize(
    ("seconds", "window_seconds"),
    [
        pytest.param(0.002, 5, id="shorter than one frame"),
        pytest.param(1.3, 5, id="short"),
        pytest.param(4.98, 5, id="ends inside of the last frames"),
        pytest.param(5.0, 5, id="fills the window"),
        pytest.param(7.7, 30, id="in the full window"),
        pytest.param(31.0, 30, id="longer than the window"),
    ],
)
def test_features_equal_those_of_transformers(seconds: float, window_seconds: int, mel_bins: int) -> None:
    samples = speech(seconds)
    extractor = WhisperFeatureExtractor(feature_size=mel_bins, chunk_length=window_seconds)
    expected = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_features[0]
    made = examples.log_mel(samples, mel_bins, window_seconds)
    assert made.shape == (mel_bins, window_seconds * 100)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("amplitude", [0.0, 1e-6, 10.0], ids=["silence", "very faint", "clipped"])
def test_the_floor_of_the_silence_is_that_of_transformers(amplitude: float) -> None:
    samples = speech(1.0, amplitude)
    expected = WhisperFeatureExtractor()(samples, sampling_rate=16_000, return_tensors="pt").input_features[0]
    torch.testing.assert_close(examples.log_mel(samples, 80, 30), expected, rtol=0, atol=1e-6)


def test_settings_are_read_from_the_model() -> None:
    config = WhisperConfig(num_mel_bins=128, max_source_positions=1500)
    assert decoding.feature_settings_of(config) == decoding.FeatureSettings(mel_bins=128, window_seconds=30)


OLD_PYTHON = ROOT / ".venv38" / "bin" / "python"
COMPARE = """
import numpy
from transformers import WhisperFeatureExtractor
from whisper_finetune_trainer.data import dataset
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.evaluation import wer
samples = numpy.random.default_rng(0).normal(0, 0.1, 40000).astype("float32")
expected = WhisperFeatureExtractor()(samples, sampling_rate=16000, return_tensors="np").input_features[0]
print(abs(examples.log_mel(samples, 80, 30).numpy() - expected).max())
"""


@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="no .venv38: tests/environment.sh makes it where a Python 3.8 is")
@pytest.mark.slow
def test_python_3_8_makes_the_same_features() -> None:
    paths = os.pathsep.join(str(OLD_PYTHON.parents[2] / folder) for folder in ("crds", "trainer"))
    process = subprocess.run(
        [OLD_PYTHON, "-c", COMPARE], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    # transformers 4.29 computes in NumPy, with its own rounding.
    assert float(process.stdout) < 1e-4
