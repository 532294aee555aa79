import json
import os
import pickle
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperForConditionalGeneration, WhisperProcessor, pipeline

import model_loading
import tiny_whisper
import tones
import trainer_configs
from repository import ROOT
from whisper_finetune_api.planning.model_dimensions import Dimensions
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import examples, model, model_folder

OLD_PYTHON = ROOT / ".venv38" / "bin" / "python"
CARD = "# A card\n"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    tiny_whisper.build(tmp_path / "model")
    return tmp_path


def load(volume: Path, **changes: Any) -> model.LoadedModel:
    return model_loading.load_model(trainer_configs.config_on(volume, changes))


def refusal(volume: Path, **changes: Any) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        load(volume, **changes)
    return caught.value


def edit_json(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, **changes}), encoding="utf-8")


def test_what_is_known_of_a_loaded_model(volume: Path) -> None:
    loaded = load(volume)
    tokens = ["<|startoftranscript|>", "<|it|>", "<|transcribe|>", "<|notimestamps|>"]
    assert loaded.prompt_ids == tuple(loaded.tokenizer.convert_tokens_to_ids(tokens))
    assert (loaded.text_language_code, loaded.english_only) == ("it", False)
    assert loaded.dimensions == Dimensions(64, 1, 2, 2, 1864, 80)
    assert {weight.dtype for weight in loaded.network.parameters()} == {torch.float32}


def test_what_is_translated_is_written_in_english(volume: Path) -> None:
    assert load(volume, language="ja", task="translate").text_language_code == "en"


def test_a_language_is_taken_by_name_too(volume: Path) -> None:
    assert load(volume, language="italian", task="translate").prompt_ids == (
        load(volume, language="it", task="translate").prompt_ids
    )


def test_labels_begin_after_the_start_token_and_end_with_the_end_token(volume: Path) -> None:
    loaded = load(volume)
    labels = examples.label_ids(loaded.tokenizer, loaded.prompt_ids, "ciao")
    assert loaded.tokenizer.decode(labels) == "<|it|><|transcribe|><|notimestamps|>ciao<|endoftext|>"
    assert labels == loaded.tokenizer("ciao").input_ids[1:]


def test_an_english_only_model_gets_neither_language_nor_task(tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model", english_only=True)
    loaded = load(tmp_path, language="en")
    assert loaded.english_only
    assert loaded.tokenizer.decode(loaded.prompt_ids) == "<|startoftranscript|><|notimestamps|>"
    assert getattr(loaded.network.generation_config, "language", None) is None


@pytest.mark.parametrize("changes", [{"language": "it"}, {"language": "en", "task": "translate"}], ids=str)
def test_an_english_only_model_refuses_other_languages_and_tasks(tmp_path: Path, changes: dict[str, str]) -> None:
    tiny_whisper.build(tmp_path / "model", english_only=True)
    error = refusal(tmp_path, **changes)
    assert error.reason == "ConfigInvalid"
    assert "is English-only" in error.message


def test_cantonese_is_refused_where_the_vocabulary_lacks_it(volume: Path, tmp_path: Path) -> None:
    error = refusal(volume, language="yue")
    assert error.reason == "ConfigInvalid"
    assert "no token for cantonese (<|yue|>); Cantonese exists in large-v3" in error.message
    shutil.rmtree(tmp_path / "model")
    tiny_whisper.build(tmp_path / "model", cantonese=True)
    assert load(tmp_path, language="cantonese").text_language_code == "yue"


def test_what_a_tokenizer_was_saved_with_does_not_matter(tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model", english_only=True)
    edit_json(
        tmp_path / "model" / "tokenizer_config.json", language="english", task="transcribe", predict_timestamps=True
    )
    assert len(load(tmp_path, language="en").prompt_ids) == 2


def test_special_tokens_in_another_order_are_refused(volume: Path) -> None:
    path = volume / "model" / "tokenizer.json"
    text = path.read_text(encoding="utf-8")
    text = text.replace("<|it|>", "<|xx|>").replace("<|de|>", "<|it|>").replace("<|xx|>", "<|de|>")
    path.write_text(text, encoding="utf-8")
    error = refusal(volume)
    assert error.reason == "ConfigInvalid"
    assert "not in Whisper's order" in error.message


def test_generation_settings_of_an_old_folder_are_completed(volume: Path) -> None:
    edit_json(volume / "model" / "config.json", forced_decoder_ids=[[1, 259], [2, 358]], max_length=448)
    old = {"max_length": 20, "forced_decoder_ids": [[1, None], [2, 358]], "decoder_start_token_id": 257}
    (volume / "model" / "generation_config.json").write_text(json.dumps(old), encoding="utf-8")
    loaded = load(volume)
    settings = loaded.network.generation_config
    assert settings.lang_to_id["<|it|>"] == loaded.prompt_ids[1]
    assert settings.task_to_id["transcribe"] == loaded.prompt_ids[2]
    assert (settings.language, settings.task, settings.is_multilingual) == ("<|it|>", "transcribe", True)
    assert settings.max_length == 64
    assert settings.eos_token_id == loaded.tokenizer.eos_token_id
    assert settings.forced_decoder_ids == [list(place) for place in enumerate(loaded.prompt_ids[1:], start=1)]
    assert loaded.network.config.forced_decoder_ids is None


def test_malformed_generation_settings_are_left_out_and_named(volume: Path, caplog: pytest.LogCaptureFixture) -> None:
    malformed = {
        "bos_token_id": [None],
        "eos_token_id": 10**9,
        "pad_token_id": True,
        "begin_suppress_tokens": [1, "2"],
        "alignment_heads": [[0, 1, 2]],
        "max_initial_timestamp_index": -1,
        "lang_to_id": {"<|it|>": "no number", "<|de|>": 10**9, "<|none|>": 3},
        "task_to_id": [],
    }
    edit_json(volume / "model" / "generation_config.json", **malformed)
    loaded = load(volume)
    settings, tokens = loaded.network.generation_config, loaded.tokenizer
    ids = (settings.bos_token_id, settings.eos_token_id, settings.pad_token_id)
    assert ids == (tokens.bos_token_id, tokens.eos_token_id, tokens.pad_token_id)
    assert (settings.begin_suppress_tokens, getattr(settings, "alignment_heads", None)) == (None, None)
    assert settings.lang_to_id["<|it|>"] == loaded.prompt_ids[1]
    assert "<|none|>" not in settings.lang_to_id
    assert settings.task_to_id["transcribe"] == loaded.prompt_ids[2]
    assert (
        "left out, because malformed: alignment_heads, begin_suppress_tokens, bos_token_id, eos_token_id, "
        "max_initial_timestamp_index, pad_token_id"
    ) in caplog.text


def test_a_text_may_be_as_long_as_the_decoder_allows(volume: Path) -> None:
    edit_json(volume / "model" / "generation_config.json", max_length=448)
    assert load(volume).network.generation_config.max_length == 64


MISSING: dict[str, tuple[dict[str, str], str, str]] = {
    "claim": ({"model": "pvc://other/model"}, "ConfigInvalid", "claim other is not mounted here"),
    "library": ({"model": "gs://models/base"}, "ConfigInvalid", "gs:// needs gcsfs, which is not in this image"),
    "name too long": ({"model": "pvc://speech/" + "m" * 300}, "ModelNotFound", "m is not a folder of its volume"),
    "folder": (
        {"model": "pvc://speech/nothing"},
        "ModelNotFound",
        "pvc://speech/nothing is not a folder of its volume",
    ),
    "no model": ({"model": "pvc://speech"}, "ModelNotFound", "pvc://speech has no config.json; it holds model"),
    "revision": ({"modelRevision": "main"}, "ConfigInvalid", "modelRevision is for models of the Hub"),
}


@pytest.mark.parametrize(("changes", "reason", "message"), MISSING.values(), ids=MISSING.keys())
def test_a_model_that_is_not_there(volume: Path, changes: dict[str, str], reason: str, message: str) -> None:
    error = refusal(volume, **changes)
    assert error.reason == reason
    assert message in error.message


def test_a_configuration_that_is_not_json(volume: Path) -> None:
    (volume / "model" / "config.json").write_text("{", encoding="utf-8")
    assert refusal(volume).message.startswith("model: config.json of pvc://speech/model is not JSON")


def test_another_kind_of_model(volume: Path) -> None:
    edit_json(volume / "model" / "config.json", model_type="wav2vec2")
    assert "is not a Whisper model; its model_type is wav2vec2" in refusal(volume).message


def test_no_weights(volume: Path) -> None:
    (volume / "model" / "model.safetensors").unlink()
    error = refusal(volume)
    assert (error.reason, "has no weights" in error.message) == ("ModelNotFound", True)


def test_weights_that_are_cut_off(volume: Path) -> None:
    path = volume / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50_000])
    error = refusal(volume)
    assert error.reason == "ConfigInvalid"
    assert "weights of pvc://speech/model cannot be read" in error.message


def test_a_missing_weight_is_not_made_up(volume: Path) -> None:
    path = volume / "model" / "model.safetensors"
    weights = load_file(path)
    del weights["model.decoder.layers.1.fc1.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    assert "1 weights of pvc://speech/model are missing" in refusal(volume).message
    assert "model.decoder.layers.1.fc1.weight" in refusal(volume).message


def test_weights_of_another_shape(volume: Path) -> None:
    edit_json(volume / "model" / "config.json", decoder_ffn_dim=256)
    assert refusal(volume).reason == "ConfigInvalid"


def rename_weights(volume: Path, prefix: str) -> None:
    path = volume / "model" / "model.safetensors"
    save_file({prefix + name: weight for name, weight in load_file(path).items()}, path, metadata={"format": "pt"})


def test_weights_with_an_adapter_around_them_say_so(volume: Path) -> None:
    rename_weights(volume, "base_model.model.")
    message = refusal(volume).message
    assert "they are those of a model with a PEFT adapter: merge the adapter into its model" in message


def test_a_checkpoint_without_a_tokenizer_says_what_to_copy(volume: Path) -> None:
    for name in ("tokenizer.json", "vocab.json"):
        (volume / "model" / name).unlink()
    (volume / "model/trainer_state.json").write_text("{}", encoding="utf-8")
    assert "; copy the tokenizer's files (tokenizer.json, or vocab.json and merges.txt" in refusal(volume).message


def test_a_converted_model_says_what_it_is(volume: Path) -> None:
    (volume / "model/model.safetensors").rename(volume / "model/model.bin")
    (volume / "model/vocabulary.json").write_text("[]", encoding="utf-8")
    edit_json(volume / "model" / "config.json", model_type=None)
    message = refusal(volume).message
    assert "has no weights; model.safetensors is expected; it is a CTranslate2 model, as of faster-whisper" in message


def test_no_tokenizer(volume: Path) -> None:
    for name in ("tokenizer.json", "vocab.json"):
        (volume / "model" / name).unlink()
    assert "has no tokenizer.json and no vocab.json" in refusal(volume).message


def test_a_broken_tokenizer(volume: Path) -> None:
    (volume / "model" / "tokenizer.json").write_text('{"version": "1.0"', encoding="utf-8")
    error = refusal(volume)
    assert error.reason == "ConfigInvalid"
    assert "tokenizer of pvc://speech/model cannot be read" in error.message


class _Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return (Path.touch, (self.proof,))


def test_pickled_weights_are_read_as_weights_only(volume: Path) -> None:
    folder = volume / "model"
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert torch.equal(load(volume).network.model.encoder.conv1.weight, weights["model.encoder.conv1.weight"])
    proof = volume / "proof"
    torch.save({**weights, "x": _Attack(proof)}, folder / "pytorch_model.bin", pickle_module=pickle)
    assert refusal(volume).reason == "ConfigInvalid"
    assert not proof.exists()


def test_a_model_without_a_token_for_padding_takes_its_tokenizers(volume: Path) -> None:
    edit_json(volume / "model/config.json", pad_token_id=None)
    loaded = load(volume)
    assert loaded.network.config.pad_token_id == loaded.tokenizer.pad_token_id == 256


def test_the_saved_folder_is_whole_and_names_no_path(volume: Path) -> None:
    folder = volume / "saved"
    folder.mkdir()
    model.save_model(load(volume), folder, CARD)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "added_tokens.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors",
        "normalizer.json",
        "preprocessor_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.suffix != ".safetensors"}
    assert [name for name, text in texts.items() if str(volume) in text] == []
    assert texts["README.md"] == CARD


def test_a_saved_model_can_be_read_by_other_users(volume: Path) -> None:
    folder = volume / "saved"
    folder.mkdir()
    model.save_model(load(volume), folder, CARD)
    assert [path.name for path in folder.iterdir() if not path.stat().st_mode & stat.S_IROTH] == []


def test_a_saved_model_loads_as_it_was(volume: Path) -> None:
    loaded = load(volume)
    (volume / "saved").mkdir()
    model.save_model(loaded, volume / "saved", CARD)
    again = load(volume, model="pvc://speech/saved")
    assert again.prompt_ids == loaded.prompt_ids
    weights, same = loaded.network.state_dict(), again.network.state_dict()
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_a_float16_copy_loads_as_the_variant_fp16(volume: Path) -> None:
    folder = volume / "saved"
    folder.mkdir()
    loaded = load(volume)
    model.save_model(loaded, folder, CARD)
    model_folder.add_float16_copy(folder)
    halves = WhisperForConditionalGeneration.from_pretrained(
        folder, variant="fp16", dtype=torch.float16, local_files_only=True
    )
    assert {weight.dtype for weight in load_file(folder / "model.fp16.safetensors").values()} == {torch.float16}
    same = halves.state_dict()
    assert all(torch.equal(weight.half(), same[name]) for name, weight in loaded.network.state_dict().items())
    assert (folder / "model.fp16.safetensors").stat().st_mode & stat.S_IROTH


def test_the_pipeline_of_transformers_takes_the_saved_folder(volume: Path) -> None:
    (volume / "saved").mkdir()
    model.save_model(load(volume), volume / "saved", CARD)
    recognizer = pipeline("automatic-speech-recognition", model=str(volume / "saved"), device="cpu")
    assert set(recognizer(tones.tone(0, 1.0))) == {"text"}


READ_WITH_4_29 = """
import json, sys
import numpy, torch, transformers
from transformers import AutoTokenizer, WhisperForConditionalGeneration, WhisperProcessor
assert transformers.__version__ == "4.29.2", transformers.__version__
folder = sys.argv[1]
network, report = WhisperForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
assert not any(report.values()), report
processor = WhisperProcessor.from_pretrained(folder)
fast = AutoTokenizer.from_pretrained(folder)
samples = (0.3 * numpy.sin(numpy.arange(16000) / 10)).astype("float32")
features = processor(samples, sampling_rate=16000, return_tensors="pt").input_features
tokens = network.generate(features, language="italian", task="transcribe", max_new_tokens=8)
assert torch.equal(tokens, network.generate(features, max_new_tokens=8)), tokens
print(json.dumps({
    "labels": [tokenizer("perché no?").input_ids for tokenizer in (processor.tokenizer, fast)],
    "prompt": tokens[0, :4].tolist(),
    "features": features.double().sum().item(),
    "encoder": network.model.encoder(features).last_hidden_state.double().abs().sum().item(),
}))
"""


@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="no .venv38: tests/environment.sh makes it where a Python 3.8 is")
@pytest.mark.slow
def test_transformers_4_29_reads_the_saved_folder(volume: Path) -> None:
    shutil.rmtree(volume / "model")
    tiny_whisper.build(volume / "model", merges=[("p", "e"), ("pe", "r"), ("Ġ", "n")])
    loaded = load(volume)
    folder = volume / "saved"
    folder.mkdir()
    model.save_model(loaded, folder, CARD)
    process = subprocess.run(
        [OLD_PYTHON, "-c", READ_WITH_4_29, folder], capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stderr
    read = json.loads(process.stdout.splitlines()[-1])
    processor = WhisperProcessor.from_pretrained(folder)
    samples = (0.3 * torch.sin(torch.arange(16000, dtype=torch.float64) / 10)).float().numpy()
    features = processor(samples, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        hidden = loaded.network.model.encoder(features).last_hidden_state
    assert len(loaded.tokenizer("perché no?", add_special_tokens=False).input_ids) == len("perché no?".encode()) - 3
    assert read["labels"] == [loaded.tokenizer("perché no?").input_ids] * 2
    assert read["prompt"] == list(loaded.prompt_ids)
    assert read["features"] == pytest.approx(features.double().sum().item(), rel=1e-4)
    assert read["encoder"] == pytest.approx(hidden.double().abs().sum().item(), rel=1e-3)


WRITE_WITH_4_29 = """
import sys
from transformers import WhisperForConditionalGeneration, WhisperProcessor
WhisperForConditionalGeneration.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2], safe_serialization=True)
WhisperProcessor.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
"""


@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="no .venv38: tests/environment.sh makes it where a Python 3.8 is")
@pytest.mark.slow
def test_a_folder_that_transformers_4_29_wrote_is_read(volume: Path) -> None:
    arguments = [OLD_PYTHON, "-c", WRITE_WITH_4_29, volume / "model", volume / "old"]
    subprocess.run(arguments, capture_output=True, check=True, timeout=300)
    loaded, old = load(volume), load(volume, model="pvc://speech/old")
    assert old.prompt_ids == loaded.prompt_ids
    assert old.tokenizer("perché no?").input_ids == loaded.tokenizer("perché no?").input_ids
    weights, same = loaded.network.state_dict(), old.network.state_dict()
    assert all(torch.equal(weights[name], same[name]) for name in weights)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_volume_that_may_not_be_read(volume: Path) -> None:
    os.seteuid(65534)
    try:
        error = refusal(volume)
    finally:
        os.seteuid(0)
    assert error.reason == "AccessDenied"
    assert error.message.startswith("model: user 65534 may not read")
