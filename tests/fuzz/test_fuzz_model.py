"""A model folder with any config.json ends in a model or in one refusal. It never ends in an error to be retried."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st

import model_loading
import tiny_whisper
import trainer_configs
from fuzz.fuzzing import damaged, for_a_while, json_values, objects, texts
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.pytorch import device as device_choice
from whisper_finetune_trainer.pytorch import transcription

pytestmark = pytest.mark.slow


def _heard(loaded: LoadedModel) -> list[Transcript]:
    """Return what the model makes of silence: settings that it was loaded with must do for that too."""
    sizes = loaded.network.config
    hidden = torch.zeros(1, sizes.max_source_positions, sizes.d_model)
    clip = Clip("silence", WholeFile("silence.wav"), "", 0.1)
    device = device_choice.prepare_device("cpu", "Float", cpus=1)
    return transcription.transcribe_clips(loaded, device, [clip], lambda _: hidden, lambda _: None)


def test_settings_of_a_model(tmp_path: Path) -> None:
    folder = tiny_whisper.build(tmp_path / "model")
    good = {name: (folder / name).read_bytes() for name in ("config.json", "generation_config.json")}
    config = trainer_configs.make_config(trainer_configs.make_spec(), speech=tmp_path, scratch=tmp_path)

    def load(changed: tuple[str, bytes]) -> None:
        for name, content in {**good, changed[0]: changed[1]}.items():
            (folder / name).write_bytes(content)
        try:
            loaded = model_loading.load_model(config)
        except TrainerError as refused:
            said = refused.message
        else:
            assert len(_heard(loaded)) == 1
            return
        assert said.isprintable(), ascii(said)

    dangerous = {"quantization_config", "auto_map", "_attn_implementation", "architectures", "torch_dtype"}
    added = st.dictionaries(st.sampled_from(sorted(dangerous)) | texts(10), json_values(), max_size=2)

    def described(file: str) -> st.SearchStrategy[tuple[str, bytes]]:
        both = st.tuples(objects(json.loads(good[file])), added)
        return damaged(both.map(lambda two: json.dumps({**two[0], **two[1]}).encode())).map(lambda text: (file, text))

    for_a_while(load, st.sampled_from(sorted(good)).flatmap(described))
