"""Model folders as people have them: how each is recognized, and what the message says to do."""

from __future__ import annotations

import pytest

from whisper_finetune_trainer.model import foreign_models

FOLDERS = {
    "adapter": (
        ["README.md", "adapter_config.json", "adapter_model.safetensors"],
        "it is a PEFT adapter: merge the adapter into its model (merge_and_unload, then save_pretrained)",
    ),
    "cache of a model": (
        ["blobs", "refs", "snapshots"],
        "it is the Hub's cache of a model: take snapshots/HASH in it, HASH being what refs/main says",
    ),
    "cache": (["CACHEDIR.TAG", "models--openai--whisper-small"], "take models--OWNER--NAME/snapshots/HASH in it"),
    "CTranslate2": (
        ["config.json", "model.bin", "tokenizer.json", "vocabulary.json"],
        "it is a CTranslate2 model, as of faster-whisper: take the folder, or the Hub id such as openai/whisper-small",
    ),
    "OpenAI": (["tiny.pt"], "it is a model of OpenAI's own package (*.pt): take the same size from the Hub"),
    "whisper.cpp": (["ggml-base.bin"], "it is a model of whisper.cpp: take the folder"),
    "GGUF": (["whisper.gguf"], "whisper.cpp or llama.cpp"),
    "ONNX": (["config.json", "encoder_model.onnx"], "it is a model in ONNX"),
    "Core ML": (["AudioEncoder.mlmodelc"], "it is a model of Core ML"),
    "MLX": (["config.json", "weights.npz"], "it is a model of MLX"),
    "TensorFlow": (["config.json", "tf_model.h5"], "write it anew for PyTorch"),
    "JAX": (["config.json", "flax_model.msgpack"], "write it anew for PyTorch"),
    "Diffusers": (["model_index.json", "unet"], "it is a pipeline of Diffusers, not a Whisper"),
    "checkpoints": (["checkpoint-1000", "runs"], "take one of them, such as checkpoint-1000"),
    "runs": (["latest.json", "italian-0f3c"], "it is a folder of runs: take the folder of the model in one of them"),
}


@pytest.mark.parametrize(("names", "said"), FOLDERS.values(), ids=FOLDERS)
def test_folders_that_are_known(names: list[str], said: str) -> None:
    assert said in foreign_models.advice_for_folder(names)


@pytest.mark.parametrize("names", [[], ["README.md"], ["config.json", "vocab.json"], ["audio", "train.jsonl"]])
def test_folders_that_nobody_knows(names: list[str]) -> None:
    assert foreign_models.advice_for_folder(names) == ""


WEIGHTS = {
    "adapter": (
        ["base_model.model.model.encoder.conv1.weight"],
        "they are those of a model with a PEFT adapter: merge",
    ),
    "compiled": (["_orig_mod.model.encoder.conv1.weight"], "save the model that torch.compile was given"),
    "parallel": (["module.model.encoder.conv1.weight"], "save its `module`"),
}


@pytest.mark.parametrize(("names", "said"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_are_known(names: list[str], said: str) -> None:
    assert said in foreign_models.advice_for_weights(names)


def test_weights_that_nobody_knows() -> None:
    assert foreign_models.advice_for_weights(["model.encoder.other"]) == ""
