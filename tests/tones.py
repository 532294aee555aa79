"""Sounds and texts of tiny data sets: a tone for each word."""

from __future__ import annotations  # Python 3.8 reads it too

import functools
from typing import Any

import numpy as np

SAMPLE_RATE = 16_000
TEXTS = ("uno", "due", "tre", "ciao", "gatto", "sole", "mare", "luna")


@functools.lru_cache(maxsize=1_000)  # functools.cache is of Python 3.9
def tone(place: int, seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a tone at 16 kHz whose pitch tells the texts apart, with the same faint noise every time."""
    samples = int(seconds * SAMPLE_RATE)
    pitch = 220 * 2 ** (place % len(TEXTS) / 2)
    noise = np.random.default_rng(place).normal(0, 0.01, samples)
    made = (0.3 * np.sin(2 * np.pi * pitch * np.arange(samples) / SAMPLE_RATE) + noise).astype(np.float32)
    made.setflags(write=False)
    return made
