"""The content of the tests' volume: tiny models, clips of tones, and data sets with every fault that one can have."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import soundfile

import tiny_whisper
import tones

GOOD_CLIPS = 24
#: The fewest that a model can be chosen by.
VALIDATION_CLIPS = 20
#: More than a tenth of the clips is what the default of dataset.maxDroppedFraction refuses.
FAULTY_CLIPS = 12
CLIPS_AROUND_SIX_FAULTS = 60
Row = dict[str, str]


def fill(volume: Path) -> None:
    """Write it all into an empty folder."""
    tiny_whisper.build(volume / "models" / "tiny")
    tiny_whisper.build(volume / "models" / "english-only", english_only=True)
    (volume / "models" / "nothing").mkdir()
    tones.write_clips(volume / "tones", GOOD_CLIPS)
    tones.write_clips(volume / "tones", VALIDATION_CLIPS, name="validation")
    # So that the model's tokenizer is the only one to object to the language.
    tones.write_clips(volume / "cantonese", GOOD_CLIPS, texts=("一二三",))
    (volume / "empty").mkdir()
    (volume / "empty" / "train.jsonl").write_text("")
    for name, make_fault in FAULTS.items():
        write_faulty(volume / name, GOOD_CLIPS, {name: make_fault}, FAULTY_CLIPS)
    write_faulty(volume / "one-of-each-fault", CLIPS_AROUND_SIX_FAULTS, FAULTS, 1)


def write_faulty(folder: Path, good: int, faults: Mapping[str, Callable[[Path, str], str]], times: int) -> None:
    """A data set of `good` clips, and `times` clips with each of the faults."""
    tones.write_clips(folder, good)
    lines = [make(folder, f"audio/{name}-{number}.wav") for name, make in faults.items() for number in range(times)]
    with (folder / "train.jsonl").open("a", encoding="utf-8") as manifest:
        manifest.writelines(f"{line}\n" for line in lines)


def row(audio: str, text: str) -> str:
    return json.dumps({"audio": audio, "text": text})


def broken_json(folder: Path, audio: str) -> str:
    write_tone(folder / audio)
    return row(audio, "uno")[:-1]


def missing_audio(folder: Path, audio: str) -> str:
    del folder
    return row(audio, "uno")


def unreadable_audio(folder: Path, audio: str) -> str:
    (folder / audio).write_bytes(b"RIFF, but not for long")
    return row(audio, "uno")


def empty_text(folder: Path, audio: str) -> str:
    write_tone(folder / audio)
    return row(audio, "  ")


def long_clip(folder: Path, audio: str) -> str:
    write_tone(folder / audio, seconds=31)
    return row(audio, "uno")


def long_label(folder: Path, audio: str) -> str:
    write_tone(folder / audio)
    return row(audio, "uno " * 80)


FAULTS: dict[str, Callable[[Path, str], str]] = {
    "broken-json": broken_json,
    "missing-audio": missing_audio,
    "unreadable-audio": unreadable_audio,
    "empty-text": empty_text,
    "long-clips": long_clip,
    "long-labels": long_label,
}


def write_tone(path: Path, seconds: float = 0.8) -> None:
    soundfile.write(path, tones.tone(0, seconds), tones.SAMPLE_RATE)
