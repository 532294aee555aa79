"""Model folders cross between two Pythons: written by today's transformers, trained on emulated IPUs, and read back."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import soundfile
import yaml
from transformers import WhisperForConditionalGeneration, WhisperProcessor, pipeline

import specs
import tiny_whisper
import tones
from repository import ROOT
from trainer_configs import make_spec
from whisper_finetune_api.run import TrainingResult

PYTHON = ROOT / ".venv38" / "bin" / "python"
#: On-device generation ends after 17 tokens where 32 are the limit; 4 of them are the prompt.
NEW_TOKENS = 13
FOLDERS = ("crds", "trainer", "tests/poptorch_emulation")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv38: no Python 3.8 on this machine"),
]


def train_on_ipus(volume: Path, changes: dict[str, object]) -> TrainingResult:
    """Run the trainer on Python 3.8 with the model and the clips of a volume."""
    spec = specs.with_changes(make_spec(), changes)
    described = {
        "apiVersion": "whisperfinetune.dev/v1alpha1",
        "kind": "WhisperFineTune",
        "metadata": {"name": "demo"},
        "spec": spec,
    }
    path = volume / "run.yaml"
    path.write_text(yaml.safe_dump(described), encoding="utf-8")
    ran = subprocess.run(
        [PYTHON, "-m", "whisper_finetune_trainer", "run", path, "--accelerator", "ipu", "--volume", f"speech={volume}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in FOLDERS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return TrainingResult.model_validate_json(ran.stdout.splitlines()[-1])


def test_a_folder_goes_to_ipus_and_comes_back(tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model", encoder_layers=2, init_std=0.3)
    tones.write_clips(tmp_path / "clips", 20)
    training = {"steps": 8, "batchSize": 4, "precision": "Float", "learningRate": "1e-4", "maxLabelTokens": 32}
    changes: dict[str, object] = {f"training.{name}": value for name, value in training.items()}
    trained = train_on_ipus(tmp_path, {**changes, "ipus": 2})
    (run,) = (tmp_path / "runs").glob("demo-*")
    folder = run / "model"

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "max_length" not in config
    assert not config.get("forced_decoder_ids")
    network = WhisperForConditionalGeneration.from_pretrained(folder)
    assert {weight.dtype.is_floating_point and weight.element_size() for weight in network.parameters()} == {4}
    # It can be saved again: settings of generation that only IPUs need would be refused here.
    network.save_pretrained(tmp_path / "again")

    processor = WhisperProcessor.from_pretrained(folder)
    clips = [json.loads(line) for line in (run / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()]
    sounds = [soundfile.read(tmp_path / "clips" / clip["id"])[0] for clip in clips]
    features = processor(sounds, sampling_rate=tones.SAMPLE_RATE, return_tensors="pt").input_features
    heard = processor.batch_decode(network.generate(features, max_new_tokens=NEW_TOKENS), skip_special_tokens=True)
    assert [text.strip() for text in heard] == [clip["after"] for clip in clips]
    assert len(set(heard)) > 1
    assert "text" in pipeline("automatic-speech-recognition", model=str(folder))(sounds[0])
    assert trained.result is not None
    assert trained.ran_on is not None
    assert "emulated" in trained.ran_on.software
