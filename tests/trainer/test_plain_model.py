"""What is loaded from a model's folder: weights and settings, but no code, no other libraries, no files elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import model_loading
import shards
import tiny_whisper
import trainer_configs
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import plain_model
from whisper_finetune_trainer.stores.volumes import Mount


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper.build(tmp_path_factory.mktemp("built") / "model")


@pytest.fixture
def volume(tmp_path: Path, built: Path) -> Path:
    shutil.copytree(built, tmp_path / "claim/model")
    return tmp_path / "claim"


def refusal(volume: Path) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        model_loading.load_model(trainer_configs.config_on(volume, {}))
    return caught.value


def edit(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, **changes}), encoding="utf-8")


METHODS = ("bitsandbytes", "torchao", "gptq", "quanto", "compressed-tensors", "nobodys")


@pytest.mark.parametrize("method", METHODS)
def test_quantized_weights_are_refused(volume: Path, method: str) -> None:
    edit(volume / "model/config.json", quantization_config={"quant_method": method, "bits": 4})
    error = refusal(volume)
    assert error.reason == "ConfigInvalid"
    assert (
        "config.json of pvc://speech/model has quantization_config: quantized weights are not trained" in error.message
    )


CHOICES: dict[str, dict[str, Any]] = {
    "kernels": {"_attn_implementation": "evil/kernel", "attn_implementation": "evil/kernel", "use_kernels": True},
    "code": {"auto_map": {"AutoConfig": "evil.M", "AutoModelForSpeechSeq2Seq": "evil/repo--evil.M"}},
    "no quantization": {"quantization_config": None},
    "other forms of outputs": {"return_dict": False, "torchscript": True, "output_attentions": True},
}


@pytest.mark.parametrize("changes", CHOICES.values(), ids=CHOICES)
def test_what_a_network_may_not_choose_is_passed_over(volume: Path, changes: dict[str, Any]) -> None:
    edit(volume / "model/config.json", **changes)
    loaded = model_loading.load_model(trainer_configs.config_on(volume, {}))
    assert type(loaded.network).__module__.startswith("transformers.")
    assert loaded.network.config._attn_implementation in {"sdpa", "eager"}
    features = torch.zeros(1, 80, 200)
    assert loaded.network.model.encoder(features).last_hidden_state.shape == (1, 100, 64)


SENSELESS: dict[str, Any] = {
    "text": {"d_model": "wide"},
    "nothing": {"decoder_attention_heads": 0},
    "dtype": {"dtype": "evil", "torch_dtype": "evil"},
    "list": {"vocab_size": [1]},
    "activation": {"activation_function": "evil"},
    "another kind": {"model_type": "\x1b[2J" + "x" * 100},
}


@pytest.mark.parametrize("changes", SENSELESS.values(), ids=SENSELESS)
def test_settings_that_make_no_sense_are_not_tried_again(volume: Path, changes: dict[str, Any]) -> None:
    edit(volume / "model/config.json", **changes)
    error = refusal(volume)
    assert error.reason == "ConfigInvalid"
    assert "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" not in error.message


@pytest.mark.parametrize("name", ["dropout", "encoder_layerdrop", "mask_time_prob"])
@pytest.mark.parametrize("value", [1.5, -0.1, "0.1", None])
def test_a_probability_is_one(volume: Path, name: str, value: Any) -> None:
    edit(volume / "model/config.json", **{name: value})
    error = refusal(volume)
    assert (error.reason, error.message) == (
        "ConfigInvalid",
        f"model: {name} in config.json of pvc://speech/model is {value}, and must be a number from 0 to 1",
    )


@pytest.mark.parametrize(("axis", "most"), [("time", 6000), ("feature", 80)])
@pytest.mark.parametrize("length", [0, 6001, 2.5, None])
def test_a_mask_fits_into_what_it_masks(volume: Path, axis: str, most: int, length: Any) -> None:
    name = f"mask_{axis}_length"
    masked = {"apply_spec_augment": True, f"mask_{axis}_prob": 0.1, name: length}
    edit(volume / "model/config.json", max_source_positions=3000, num_mel_bins=80, **masked)
    error = refusal(volume)
    assert (error.reason, error.message) == (
        "ConfigInvalid",
        f"model: {name} in config.json of pvc://speech/model is {length}, and must be a number from 1 to {most}",
    )


@pytest.mark.parametrize("content", ['["colour"]', '{"colour": 5}', "{"])
def test_spellings_are_words_for_words(volume: Path, content: str) -> None:
    (volume / "model/normalizer.json").write_text(content, encoding="utf-8")
    error = refusal(volume)
    assert error.reason == "ConfigInvalid"
    assert error.message.startswith("model: normalizer.json of pvc://speech/model is no")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "content", ['{"model_type":"whisper","x":' + "[" * 100_000 + "]" * 100_000 + "}", "[]", "\udcff"]
)
def test_broken_settings_are_not_tried_again(volume: Path, name: str, content: str) -> None:
    (volume / "model" / name).write_bytes(content.encode(errors="surrogateescape"))
    assert refusal(volume).reason == "ConfigInvalid"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "config.json"])
def test_what_git_left_in_the_place_of_a_file_is_named(volume: Path, name: str) -> None:
    (volume / "model/model.safetensors").rename(volume / "model" / name)
    (volume / "model" / name).write_text(shards.GIT_LFS_POINTER, encoding="utf-8")
    if name.endswith(".json"):
        (volume / "model/model.safetensors").touch()
    error = refusal(volume)
    assert (error.reason, error.message) == (
        "ConfigInvalid",
        f"model: {name} of pvc://speech/model is a pointer of Git LFS, not the file: run `git lfs pull`",
    )


def _shard(volume: Path, shard: str, place: Path) -> None:
    weights = load_file(volume / "model/model.safetensors")
    (volume / "model/model.safetensors").unlink()
    save_file(weights, place, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}
    (volume / "model/model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize("shard", ["../outside.safetensors", "/etc/passwd", "missing.safetensors", "config.json/..", 7])
def test_an_index_names_files_of_its_folder_alone(tmp_path: Path, volume: Path, shard: Any) -> None:
    _shard(volume, shard, volume / "outside.safetensors")
    error = refusal(volume)
    assert (error.reason, "which is not a file of its folder" in error.message) == ("ConfigInvalid", True), (
        error.message
    )


def test_an_index_of_shards_is_followed(volume: Path) -> None:
    _shard(volume, "model-1.safetensors", volume / "model/model-1.safetensors")
    assert model_loading.load_model(trainer_configs.config_on(volume, {})).dimensions.width == 64


def test_adapters_code_and_templates_are_not_loaded(tmp_path: Path, volume: Path) -> None:
    folder = volume / "model"
    (folder / "custom_generate").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "evil.py", "chat_template.jinja"):
        (folder / name).write_text("{}", encoding="utf-8")
    edit(folder / "tokenizer_config.json", tokenizer_file="/etc/passwd", auto_map={"AutoTokenizer": ["evil.M", None]})
    edit(folder / "generation_config.json", custom_generate="evil/repo", cache_implementation="quantized")
    with plain_model.make_plain_folder(
        folder, Mount(str(volume), "claim speech"), "pvc://speech/model", str(tmp_path)
    ) as plain:
        names = {path.name for path in plain.iterdir()}
        assert not names & {"custom_generate", "adapter_config.json", "adapter_model.safetensors", "evil.py"}
        assert not [name for name in names if "template" in name]
        assert not {"tokenizer_file", "auto_map"} & set(json.loads((plain / "tokenizer_config.json").read_bytes()))
        assert not {"custom_generate", "cache_implementation"} & set(
            json.loads((plain / "generation_config.json").read_bytes())
        )
    assert not plain.exists()


def _link(path: Path, outside: Path) -> None:
    shutil.copy(path, outside)
    path.unlink()
    path.symlink_to(outside)


def _environment(path: Path, _outside: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/self/environ")


def _pipe(path: Path, _outside: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json"])
@pytest.mark.parametrize("replace", [_link, _environment, _pipe])
def test_no_file_of_a_model_is_read_from_elsewhere(
    tmp_path: Path, volume: Path, replace: Callable[[Path, Path], None], name: str
) -> None:
    replace(volume / "model" / name, tmp_path / "outside")
    error = refusal(volume)
    assert error.reason == "ConfigInvalid"
    assert ("leads outside of claim speech" in error.message) != ("is not a plain file" in error.message)


def test_links_inside_of_the_claim_are_followed_as_the_hubs_cache_has_them(volume: Path) -> None:
    blobs = volume / "blobs"
    blobs.mkdir()
    for path in (volume / "model").iterdir():
        path.rename(blobs / path.name)
        path.symlink_to(f"../blobs/{path.name}")
    assert model_loading.load_model(trainer_configs.config_on(volume, {})).dimensions.width == 64


def test_a_model_of_the_hubs_cache_may_lie_on_another_disk(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, other_disk = tmp_path / "hub", tmp_path / "other-disk"
    commit = other_disk / "snapshots/0f3c"
    commit.mkdir(parents=True)
    (other_disk / "blobs").mkdir()
    for path in (volume / "model").iterdir():
        shutil.copy(path, other_disk / "blobs" / path.name)
        (commit / path.name).symlink_to(f"../../blobs/{path.name}")
    cache.mkdir()
    (cache / "models--openai--whisper-tiny").symlink_to(other_disk)
    found = cache / "models--openai--whisper-tiny/snapshots/0f3c"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("whisper_finetune_trainer.model.model_source.download_from_hub", lambda *_: found)
    config = trainer_configs.config_on(volume, {"model": "openai/whisper-tiny"})
    assert model_loading.load_model(config).dimensions.width == 64
    (commit / "config.json").unlink()
    (commit / "config.json").symlink_to(volume / "model/config.json")
    with pytest.raises(TrainerError, match="leads outside of the Hub's cache of the model"):
        model_loading.load_model(config)


@pytest.fixture
def pickled(volume: Path) -> Path:
    weights = load_file(volume / "model/model.safetensors")
    (volume / "model/model.safetensors").unlink()
    torch.save(weights, volume / "model/pytorch_model.bin")
    return volume


VERSION = "whisper_finetune_trainer.model.plain_model.torch.__version__"


@pytest.mark.parametrize("version", ["1.13", "2.0.1", "2.9.1+cu128"])
def test_pickled_weights_are_not_read_by_a_pytorch_that_runs_them(
    pickled: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(VERSION, version)
    error = refusal(pickled)
    assert error.reason == "ConfigInvalid"
    assert "Write them anew where it is newer, such as in the trainer's image for CPUs: python -c" in error.message


@pytest.mark.parametrize("version", ["2.10.0", "2.15.0+cu132", "3.0"])
def test_pickled_weights_are_read_by_a_pytorch_that_does_not(
    pickled: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(VERSION, version)
    assert model_loading.load_model(trainer_configs.config_on(pickled, {})).dimensions.width == 64
