"""Write a plain Hugging Face folder that transformers 5 and 4.29 read: float32 weights, configuration, tokenizer."""

import json
import tempfile
from pathlib import Path
from typing import Any, Mapping

from safetensors import torch as safetensors_torch
from transformers import WhisperFeatureExtractor

from whisper_finetune_trainer.data.audio import features
from whisper_finetune_trainer.model import tokenizer_files

_READABLE_BY_ALL = 0o644
_WEIGHTS = "model.safetensors"
_FLOAT16_WEIGHTS = "model.fp16.safetensors"


def write(network: Any, tokenizer: Any, folder: Path) -> None:
    """Write a WhisperForConditionalGeneration and its WhisperTokenizer into an existing folder."""
    network.float().save_pretrained(folder, safe_serialization=True)
    for weights in folder.glob("*.safetensors"):
        # safetensors makes its files for their owner alone; who serves the model is another user.
        weights.chmod(_READABLE_BY_ALL)
    for name, text in _tokenizer_files(tokenizer).items():
        (folder / name).write_text(text, encoding="utf-8")
    settings = features.settings_of(network.config)
    # As preprocessor_config.json: transformers 4.29 knows no processor_config.json, and 5 reads both.
    extractor = WhisperFeatureExtractor(feature_size=settings.mel_bins, chunk_length=settings.window_seconds)
    extractor.save_pretrained(folder)


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
    return tokenizer_files.tokenizer_files(backend, config, tokenizer.english_spelling_normalizer or {})
