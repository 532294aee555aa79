"""What a trainer says about bad input: the exit code and reason of causes.py, and what to mend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import tiny_whisper
import tones
from trainer_attempts import Volume
from whisper_finetune_api import causes
from whisper_finetune_api.v1alpha1 import DataSummary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def speeches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume of models and data sets, most of them bad."""
    root = tmp_path_factory.mktemp("speeches")
    tiny_whisper.build(root / "model")
    tiny_whisper.build(root / "english", english_only=True)
    tones.write_clips(root / "good", 10)
    tones.write_clips(root / "one", 1)
    tones.write_clips(root / "long", 10, seconds=2.5)
    tones.write_clips(root / "yue", 10, texts=("你好",))
    tones.write_clips(root / "wordy", 10, texts=("parole " * 10,))
    for name, change in _DAMAGE.items():
        lines = (tones.write_clips(root / name, 10) / "train.jsonl").read_text(encoding="utf-8").splitlines()
        (root / name / "train.jsonl").write_text(change(root / name, lines), encoding="utf-8")
    (root / "bert").mkdir()
    (root / "bert/config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    return root


def _unreadable(folder: Path, lines: list[str]) -> str:
    for number in range(5):
        (folder / f"audio/train-{number:04d}.wav").write_bytes(b"this is no sound")
    return "\n".join(lines)


#: Data sets with more broken clips than are allowed, made of ten good ones.
_DAMAGE: dict[str, Callable[[Path, list[str]], str]] = {
    "empty": lambda _folder, _lines: "",
    "broken": lambda _folder, lines: "\n".join(["{"] * 5 + lines[5:]),
    "missing": lambda _folder, lines: "\n".join(line.replace(".wav", ".mp3") for line in lines),
    "silent": lambda _folder, lines: "\n".join(line.replace('"text": "', '"text": " ", "was": "') for line in lines),
    "outside": lambda _folder, lines: "\n".join(line.replace("audio/", "../good/audio/") for line in lines),
    "unreadable": _unreadable,
}


class Case(NamedTuple):
    """What the spec says instead of good things, and how the attempt ends."""

    exit_code: int
    reason: str
    says: str
    source: str = "pvc://speech/good"
    split: str = "train"
    model: str = "pvc://speech/model"
    language: str = "it"


def _invalid(name: str, says: str) -> Case:
    return Case(65, "DatasetInvalid", says, source=f"pvc://speech/{name}")


CASES = {
    "empty manifest": _invalid("empty", "empty"),
    "broken JSON": _invalid("broken", "line 1"),
    "missing files": _invalid("missing", "does not exist"),
    "empty texts": _invalid("silent", "10 of 10 clips cannot be used"),
    "unreadable audio": _invalid("unreadable", "5 of 10 clips cannot be used"),
    "paths that lead out": _invalid("outside", "outside"),
    "clips over the window": _invalid("long", "the model hears 2 s"),
    "labels too long": _invalid("wordy", "at most 32 are allowed"),
    "too few clips": _invalid("one", "evalFraction"),
    "no such data": Case(
        66, "DatasetNotFound", "there is nothing at pvc://speech/nowhere", source="pvc://speech/nowhere"
    ),
    "no such split": Case(66, "DatasetNotFound", "split test", split="test"),
    "data that left the Hub": Case(
        66, "DatasetNotFound", "Mozilla Data Collective", source="mozilla-foundation/common_voice_17_0"
    ),
    "another script": Case(
        65, "DatasetInvalid", "10 of 10 texts are mostly in Latin letters, and russian is written in Cyr", language="ru"
    ),
    "claim not mounted": Case(64, "ConfigInvalid", "claim archive is not mounted", source="pvc://archive/it"),
    "no such model": Case(66, "ModelNotFound", "pvc://speech/nowhere", model="pvc://speech/nowhere"),
    "folder without a model": Case(66, "ModelNotFound", "has no config.json", model="pvc://speech/good"),
    "another kind of model": Case(64, "ConfigInvalid", "its model_type is bert", model="pvc://speech/bert"),
    "English-only model": Case(64, "ConfigInvalid", "English-only", model="pvc://speech/english"),
    "language the model lacks": Case(64, "ConfigInvalid", "no token for cantonese", "pvc://speech/yue", language="yue"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bad_input_ends_for_good_and_says_what_to_mend(speeches: Path, tmp_path: Path, case: Case) -> None:
    spec = {
        "model": case.model,
        "language": case.language,
        "dataset": {"source": case.source, "trainSplit": case.split},
    }
    volume = Volume(speeches, tmp_path)
    ended = volume.attempt(volume.config(spec=spec, steps=1))
    assert (ended.exit_code, ended.result.reason) == (case.exit_code, case.reason), ended.result.message
    assert ended.exit_code in causes.FINAL_EXIT_CODES
    assert case.says in ended.result.message
    assert not (volume.run / "baseline.json").exists()


def test_few_bad_clips_are_left_out_and_counted(speeches: Path, tmp_path: Path) -> None:
    volume = Volume(speeches, tmp_path)
    spec = {"dataset": {"source": "pvc://speech/broken", "maxDroppedFraction": "0.5"}}
    ended = volume.attempt(volume.config(spec=spec, steps=1))
    assert ended.exit_code == 0
    assert ended.result.data == DataSummary(train_clips=4, eval_clips=1, dropped_clips=5, split="Fraction")
