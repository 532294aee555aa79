"""Real speech: long recordings with segments teach what the single clips teach, in both layouts and on both Pythons."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from demo.folders import DemoFolders, default_root
from demo.input import data
from demo.stopwatch import Stopwatch
from layout_checks import config, load
from repository import ROOT
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.audio_sources import RecordingSegment
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.model import examples

OLD_PYTHON = ROOT / ".venv38" / "bin" / "python"
CLIPS = 40
PAUSE_SECONDS = 0.7
#: Prints a digest of the samples of each clip of a configuration.
DIGESTS = """
import hashlib, json, sys
from whisper_finetune_api.run import TrainerConfig
import clip_loading
from whisper_finetune_trainer.data.audio import decoding
found = clip_loading.load_clips(TrainerConfig.model_validate_json(sys.stdin.read()))
digest = lambda clip: hashlib.sha256(decoding.read_samples(clip.audio).tobytes()).hexdigest()
print(json.dumps({clip.text: digest(clip) for clip in (*found.train.listed, *found.evaluation)}))
"""

pytestmark = pytest.mark.speech


@pytest.fixture(scope="module")
def speech() -> list[tuple[str, np.ndarray]]:
    """Return forty clips of different texts: what is said, and the samples."""
    folders = DemoFolders(default_root())
    data.prepare(folders, Stopwatch())
    lines = (folders.speech / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    by_text = {entry["text"]: entry["audio"] for entry in map(json.loads, lines)}
    return [(text, soundfile.read(folders.speech / path)[0]) for text, path in list(by_text.items())[:CLIPS]]


@pytest.fixture(scope="module")
def volume(speech: list[tuple[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume with the clips by themselves, and joined in two recordings with segments of both kinds."""
    made = tmp_path_factory.mktemp("volume")
    for layout in ("single", "nemo", "kaldi"):
        (made / layout).mkdir()
    write_single(made / "single", speech)
    places = write_joined(made, speech)
    rows = [
        {"audio_filepath": path, "offset": start, "duration": end - start, "text": text}
        for text, (path, start, end) in places.items()
    ]
    (made / "nemo/train_manifest.json").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    write_kaldi_lists(made / "kaldi", places)
    return made


def write_single(folder: Path, speech: list[tuple[str, np.ndarray]]) -> None:
    rows = []
    for number, (text, samples) in enumerate(speech):
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
        rows.append({"audio": f"{number}.wav", "text": text})
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def write_joined(volume: Path, speech: list[tuple[str, np.ndarray]]) -> dict[str, tuple[str, float, float]]:
    """Write every second clip into one recording, in both folders; return a text's file, start and end."""
    places = {}
    for half in range(2):
        parts, length = [np.zeros(0)], 0
        for text, samples in speech[half::2]:
            parts += [np.zeros(int(PAUSE_SECONDS * 16_000)), samples]
            length += len(parts[-2])
            places[text] = (f"talk-{half}.flac", length / 16_000, (length + len(samples)) / 16_000)
            length += len(samples)
        for layout in ("nemo", "kaldi"):
            soundfile.write(volume / layout / f"talk-{half}.flac", np.concatenate(parts), 16_000)
    return places


def write_kaldi_lists(folder: Path, places: dict[str, tuple[str, float, float]]) -> None:
    (folder / "wav.scp").write_text("talk-0 talk-0.flac\ntalk-1 talk-1.flac\n", encoding="utf-8")
    entries = list(enumerate(places.items()))
    segments = [f"u{number} {path[:6]} {start:.6f} {end:.6f}" for number, (_, (path, start, end)) in entries]
    (folder / "segments").write_text("\n".join(segments), encoding="utf-8")
    (folder / "text").write_text("\n".join(f"u{number} {text}" for number, (text, _) in entries), encoding="utf-8")


def by_text(found: Clips) -> dict[str, Clip]:
    return {clip.text: clip for clip in (*found.train.listed, *found.evaluation)}


@pytest.mark.parametrize("layout", ["nemo", "kaldi"])
def test_segments_have_the_features_of_the_single_clips(volume: Path, layout: str) -> None:
    single, cut = by_text(load(volume, "pvc://speech/single")), by_text(load(volume, f"pvc://speech/{layout}"))
    assert len(cut) == CLIPS
    assert set(cut) == set(single)
    for text, clip in cut.items():
        assert isinstance(clip.audio, RecordingSegment)
        assert clip.seconds == single[text].seconds
        assert torch.equal(features(clip), features(single[text])), text


def features(clip: Clip) -> torch.Tensor:
    return examples.features_of([clip], 30, 80)


@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="no .venv38: no Python 3.8 on this machine")
def test_python_3_8_reads_the_same_samples(volume: Path) -> None:
    settings = config(volume, "pvc://speech/kaldi")
    process = subprocess.run(
        [OLD_PYTHON, "-W", "ignore", "-c", DIGESTS],
        input=settings.model_dump_json(by_alias=True),
        env={"PYTHONPATH": f"{ROOT / 'crds'}:{ROOT / 'trainer'}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    single = by_text(load(volume, "pvc://speech/single"))
    assert json.loads(process.stdout) == {
        text: hashlib.sha256(decoding.read_samples(clip.audio).tobytes()).hexdigest() for text, clip in single.items()
    }
