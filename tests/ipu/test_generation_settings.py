"""On IPUs a model is measured with the settings that are published with it."""

import json
from pathlib import Path

import tiny_model
from ipu_runs import IpuVolume

import model_loading
from whisper_finetune_trainer.ipu import assembly
from whisper_finetune_trainer.model import model

SETTINGS = ("max_length", "suppress_tokens", "begin_suppress_tokens", "forced_decoder_ids", "num_beams", "do_sample")


def test_what_is_measured_with_is_published(tmp_path: Path) -> None:
    tiny_model.write_model(tmp_path / "model")
    path = tmp_path / "model" / "generation_config.json"
    old = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**old, "suppress_tokens": [1, 2, 7], "begin_suppress_tokens": [5], "num_beams": 3}))
    loaded = model_loading.load_model(IpuVolume(tmp_path, tmp_path).config(maxLabelTokens=32))
    measured = assembly.with_generation_settings(loaded)
    (tmp_path / "published").mkdir()
    model.save_model(loaded, tmp_path / "published", "a card")
    published = type(measured.generation_config).from_pretrained(str(tmp_path / "published"))
    found = {name: getattr(measured.generation_config, name) for name in SETTINGS}
    assert found == {name: getattr(published, name) for name in SETTINGS}
    assert (found["max_length"], found["suppress_tokens"], found["begin_suppress_tokens"]) == (32, [], [5])
    assert (measured.config.max_length, measured.config.suppress_tokens) == (32, [])
    assert measured.config.forced_decoder_ids == found["forced_decoder_ids"]
