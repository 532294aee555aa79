"""Sounds and texts of tiny data sets: a tone for each word."""

from __future__ import annotations  # Python 3.8 reads it too

import functools
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

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


@functools.lru_cache(maxsize=1_000)
def wav_file(place: int, seconds: float) -> bytes:
    """Return the file of a tone. Written by soundfile itself, each file would wait for the disk."""
    file = io.BytesIO()
    soundfile.write(file, tone(place, seconds), SAMPLE_RATE, format="WAV")
    return file.getvalue()


def write_clips(
    folder: Path, count: int, *, seconds: float = 0.8, name: str = "train", texts: tuple[str, ...] = TEXTS
) -> Path:
    """Write `count` tones and the manifest `NAME.jsonl` beside them; return the folder."""
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        audio = os.path.join("audio", f"{name}-{number:04d}.wav")  # noqa: PTH118 -- relative, as a manifest has it
        (folder / audio).write_bytes(wav_file(number, seconds + 0.1 * (number % 4)))
        rows.append({"audio": audio, "text": texts[number % len(texts)]})
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder
