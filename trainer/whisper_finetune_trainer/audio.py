"""Read sound files as mono speech at 16 kHz."""

from typing import Any

import numpy as np
import soundfile
import soxr

from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.features import SAMPLE_RATE


def seconds(path: str) -> float:
    """Return a file's length by its header; soundfile.LibsndfileError or OSError for one that cannot be read."""
    found = soundfile.info(path)
    return float(found.frames) / float(found.samplerate)


def read(path: str) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return samples (n,) of float32 at 16 kHz, channels averaged; DatasetInvalid for a file that cannot be decoded."""
    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise TrainerError("DatasetInvalid", f"audio file {path} cannot be decoded: {error}") from error
    if not len(channels):
        raise TrainerError("DatasetInvalid", f"audio file {path} holds no sound: it may be cut off")
    mono = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    return np.ascontiguousarray(mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ"))
