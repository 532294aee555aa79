"""Write a plain Hugging Face folder for transformers 5 and 4.29: float32 weights, configuration, tokenizer."""

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import safetensors
import torch
from safetensors import torch as safetensors_torch
from transformers import WhisperFeatureExtractor

from whisper_finetune_trainer.data.audio import decoding

_READABLE_BY_ALL = 0o644
_WEIGHTS = "model.safetensors"
_FLOAT16_WEIGHTS = "model.fp16.safetensors"
_END = "<|endoftext|>"


def write_model_folder(network: Any, tokenizer: Any, folder: Path) -> None:
    """Write a WhisperForConditionalGeneration and its WhisperTokenizer into an existing folder."""
    network.float().save_pretrained(folder, safe_serialization=True)
    for weights in folder.glob("*.safetensors"):
        # Only the owner may read files that safetensors writes. A server of the model is another user.
        weights.chmod(_READABLE_BY_ALL)
    for name, text in _tokenizer_files(tokenizer).items():
        (folder / name).write_text(text, encoding="utf-8")
    settings = decoding.feature_settings_of(network.config)
    # As preprocessor_config.json, which both versions read. transformers 4.29 does not know processor_config.json.
    extractor = WhisperFeatureExtractor(feature_size=settings.mel_bins, chunk_length=settings.window_seconds)
    extractor.save_pretrained(folder)


def read_weights(network: Any, folder: Path) -> None:
    """Load the weights of a folder that `write_model_folder` has written for the same network."""
    # Weights that two parts of the network share are in the file once.
    network.load_state_dict(safetensors_torch.load_file(str(folder / _WEIGHTS)), strict=False)


def mix_weights(network: Any, before: Mapping[str, torch.Tensor], folder: Path, factor: float) -> None:
    """Give the network weights on the way from those `before` to those of a folder, one tensor at a time.

    Factor 0 gives exactly those before, factor 1 exactly those of the folder, and a larger one goes beyond them. The
    folder is as for `read_weights`, and `before` has the weights by the names in it.
    """
    own = network.state_dict()
    with safetensors.safe_open(str(folder / _WEIGHTS), framework="pt") as after:
        for name in after.keys():  # noqa: SIM118 -- it is no mapping
            # In this form both ends are exact: x + 1 * (y - x) is not always y.
            own[name].copy_(torch.lerp(before[name], after.get_tensor(name), factor))


def average_weights(network: Any, folders: Sequence[Path]) -> None:
    """Give the network the mean of the weights of folders, as for `read_weights`, one tensor at a time."""
    own = network.state_dict()
    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(safetensors.safe_open(str(folder / _WEIGHTS), framework="pt")) for folder in folders
        ]
        for name in opened[0].keys():  # noqa: SIM118 -- it is no mapping
            own[name].copy_(torch.stack([each.get_tensor(name) for each in opened]).mean(dim=0))


def add_float16_copy(folder: Path) -> None:
    """Write the folder's weights once more in float16, for `from_pretrained(..., variant="fp16")`."""
    weights = safetensors_torch.load_file(str(folder / _WEIGHTS))
    copy = folder / _FLOAT16_WEIGHTS
    halves = {name: weight.half() for name, weight in weights.items()}
    safetensors_torch.save_file(halves, str(copy), metadata={"format": "pt"})
    copy.chmod(_READABLE_BY_ALL)


def _tokenizer_files(tokenizer: Any) -> Mapping[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        config = json.loads(Path(folder, "tokenizer_config.json").read_text(encoding="utf-8"))
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    return tokenizer_files(backend, config, tokenizer.english_spelling_normalizer or {})


def tokenizer_files(
    tokenizer: Mapping[str, Any], config: Mapping[str, Any], spellings: Mapping[str, str]
) -> Dict[str, str]:
    """Return the text of each tokenizer file by its name.

    The arguments are transformers 5's tokenizer.json and tokenizer_config.json, and the English spellings.
    """
    added = {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]}
    merges = [_joined(merge) for merge in tokenizer["model"]["merges"]]
    special = [entry["content"] for entry in tokenizer["added_tokens"] if entry["special"]]
    return {
        "tokenizer.json": _json({**tokenizer, "model": {**tokenizer["model"], "merges": merges}}),
        "tokenizer_config.json": _json(config),
        "vocab.json": _json(_base_vocabulary(tokenizer["model"]["vocab"], added)),
        "merges.txt": "".join(line + "\n" for line in ["#version: 0.2", *merges]),
        "added_tokens.json": _json({text: number for text, number in added.items() if text != _END}),
        "special_tokens_map.json": _json(_special_tokens_map(special)),
        "normalizer.json": _json(spellings),
    }


def _joined(merge: Any) -> str:
    # tokenizers 0.20 and newer write pairs, which 0.13 cannot read. Every version reads "a b".
    return merge if isinstance(merge, str) else " ".join(merge)


def _base_vocabulary(vocabulary: Mapping[str, int], added: Mapping[str, int]) -> Dict[str, int]:
    base = {text: number for text, number in vocabulary.items() if text not in added}
    return {**base, _END: {**vocabulary, **added}[_END]}


def _special_tokens_map(special: List[str]) -> Dict[str, Any]:
    # transformers 4.29 finds tokens by their position from the end of this list. So it has all, in the order of ids.
    return {
        **{f"{role}_token": _END for role in ("bos", "eos", "pad", "unk")},
        "additional_special_tokens": [_END, *[token for token in special if token != _END]],
    }


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
