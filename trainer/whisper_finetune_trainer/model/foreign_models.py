"""Recognize folders of models that cannot be trained as they are, and say what to do with them. Pure."""

import fnmatch
from typing import Collection, Mapping, NamedTuple, Tuple

_ORIGINAL = "take the folder, or the Hub id such as openai/whisper-small, that it was converted from"
_PYTORCH = "write it anew for PyTorch, by from_pretrained and save_pretrained of transformers"
_MERGE = "merge the adapter into its model (merge_and_unload, then save_pretrained), and take that folder"


class _Shape(NamedTuple):
    """A kind of folder: patterns of files that must all be there, what the folder is, and what to do."""

    files: Tuple[str, ...]
    name: str
    advice: str


#: In this order, for a folder without settings or weights. The first one that matches counts.
_SHAPES = (
    _Shape(("adapter_config.json",), "a PEFT adapter", _MERGE),
    _Shape(
        ("blobs", "refs", "snapshots"),
        "the Hub's cache of a model",
        "take snapshots/HASH in it, HASH being what refs/main says",
    ),
    _Shape(("models--*",), "the Hub's cache", "take models--OWNER--NAME/snapshots/HASH in it"),
    _Shape(("latest.json",), "a folder of runs", "take the folder of the model in one of them, such as RUN/model"),
    _Shape(("ggml-*.bin",), "a model of whisper.cpp", _ORIGINAL),
    _Shape(("*.gguf",), "a model of whisper.cpp or llama.cpp", _ORIGINAL),
    _Shape(("vocabulary.*",), "a CTranslate2 model, as of faster-whisper", _ORIGINAL),
    _Shape(("model_index.json",), "a pipeline of Diffusers, not a Whisper", "take a Whisper model"),
    _Shape(("*.nemo",), "a model of NeMo, not a Whisper", "take a Whisper model"),
    _Shape(("*.onnx",), "a model in ONNX", _ORIGINAL),
    _Shape(("openvino_*.xml",), "a model of OpenVINO", _ORIGINAL),
    _Shape(("*.ml[pm]*",), "a model of Core ML", _ORIGINAL),
    _Shape(("weights.npz",), "a model of MLX", _ORIGINAL),
    _Shape(("weights.safetensors",), "a model of MLX", _ORIGINAL),
    _Shape(("tf_model.h5",), "a model of TensorFlow", _PYTORCH),
    _Shape(("flax_model*.msgpack",), "a model of JAX", _PYTORCH),
    _Shape(
        ("*.pt",),
        "a model of OpenAI's own package (*.pt)",
        "take the same size from the Hub, such as openai/whisper-small, or write it by transformers' "
        "convert_openai_to_hf.py",
    ),
    _Shape(
        ("checkpoint-*",),
        "a folder of checkpoints of transformers' Trainer",
        "take one of them, such as checkpoint-1000, with the tokenizer's files in it",
    ),
    _Shape(("snapshots",), "the Hub's cache of a model", "take snapshots/HASH in it"),
)
#: Prefixes that programs put before the names of all weights.
_PREFIXES: Mapping[str, str] = {
    "base_model.model.": f"they are those of a model with a PEFT adapter: {_MERGE}",
    "_orig_mod.": "they were saved from a compiled model: save the model that torch.compile was given",
    "module.": "they were saved from a model in DataParallel: save its `module`",
}
WITHOUT_TOKENIZER = (
    "copy the tokenizer's files (tokenizer.json, or vocab.json and merges.txt, with tokenizer_config.json) from the "
    "model that it was trained from, such as openai/whisper-small"
)


def advice_for_folder(names: Collection[str]) -> str:
    """Return the end of a message about a folder without a Whisper's settings or weights.

    It says what the folder is and what to do. It is empty for an unknown folder.
    """
    for shape in _SHAPES:
        if all(any(fnmatch.fnmatchcase(name, pattern) for name in names) for pattern in shape.files):
            return f"; it is {shape.name}: {shape.advice}"
    return ""


def advice_for_weights(unexpected: Collection[str]) -> str:
    """Return the end of a message about weights with unexpected names. It is empty if the names are unknown here."""
    found = (said for prefix, said in _PREFIXES.items() if any(name.startswith(prefix) for name in unexpected))
    return "".join(f"; {said}" for said in found)
