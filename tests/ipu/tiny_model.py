"""A random Whisper with the real special tokens in the real order, and tones to train it on, made on Python 3.8."""

import functools
import io
import json
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import soundfile
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

from whisper_finetune_api import languages
from whisper_finetune_trainer.data.audio import decoding

TEXTS = ("uno", "due", "tre", "ciao", "gatto", "sole", "mare", "luna")
END = "<|endoftext|>"
START = "<|startoftranscript|>"
TASKS = [
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nocaptions|>",
    "<|notimestamps|>",
]
MULTILINGUAL_LANGUAGES = 99
#: 256 bytes, the special tokens and 1501 timestamps, which the network knows whether its tokenizer does or not.
VOCABULARY = 1864


def write_model(
    folder: Path,
    *,
    seed: int = 0,
    window_seconds: int = 2,
    is_multilingual: bool = True,
    timestamps: int = 1501,
    **changes: Any,
) -> Path:
    """Write a model folder as OpenAI's are on the Hub; `changes` are values of WhisperConfig."""
    tokens = _write_tokenizer(folder, timestamps)
    end, start = tokens.convert_tokens_to_ids([END, START])
    values = {
        "vocab_size": VOCABULARY,
        "d_model": 64,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128,
        "max_source_positions": window_seconds * 50,
        "max_target_positions": 64,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
        # Larger than the library's, or a random network says the same of every clip.
        "init_std": 0.3,
    }
    torch.manual_seed(seed)
    network = WhisperForConditionalGeneration(WhisperConfig(**{**values, **changes}))
    network.generation_config = GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        max_length=64,
        is_multilingual=is_multilingual,
    )
    network.save_pretrained(folder, safe_serialization=True)
    WhisperFeatureExtractor(chunk_length=window_seconds).save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path, timestamps: int) -> WhisperTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    codes = list(languages.LANGUAGES)[:MULTILINGUAL_LANGUAGES]
    special = [END, START, *[f"<|{code}|>" for code in codes], *TASKS]
    base = [*bytes_to_unicode().values(), END]
    added = [*special[1:], *[f"<|{step * 0.02:.2f}|>" for step in range(timestamps)]]
    roles: Dict[str, Any] = {f"{role}_token": END for role in ("bos", "eos", "pad", "unk")}
    contents = {
        "vocab.json": {text: number for number, text in enumerate(base)},
        "added_tokens.json": {text: number for number, text in enumerate(added, start=len(base))},
        "special_tokens_map.json": {**roles, "additional_special_tokens": special},
        "tokenizer_config.json": {"tokenizer_class": "WhisperTokenizer", "errors": "replace", **roles},
        "normalizer.json": {},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return WhisperTokenizer.from_pretrained(str(folder))


def write_clips(folder: Path, count: int, *, seconds: float = 0.8, name: str = "train") -> Path:
    """Write `count` tones of eight pitches, a text for each pitch, and the manifest `NAME.jsonl`."""
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    rows: List[Dict[str, str]] = []
    for number in range(count):
        audio = f"audio/{name}-{number:04d}.wav"
        (folder / audio).write_bytes(_wav_file(number, seconds + 0.1 * (number % 4)))
        rows.append({"audio": audio, "text": TEXTS[number % len(TEXTS)]})
    manifest = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(manifest, encoding="utf-8")
    return folder


@functools.lru_cache(maxsize=1_000)
def _wav_file(place: int, seconds: float) -> bytes:
    """Return the file of a tone. Written by soundfile itself, each file would wait for the disk."""
    file = io.BytesIO()
    soundfile.write(file, _tone(place, seconds), decoding.SAMPLE_RATE, format="WAV")
    return file.getvalue()


def _tone(place: int, seconds: float) -> Any:
    samples = int(seconds * decoding.SAMPLE_RATE)
    pitch = 220 * 2 ** (place % len(TEXTS) / 2)
    noise = np.random.RandomState(place).normal(0, 0.01, samples)
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(samples) / decoding.SAMPLE_RATE)
    return (wave + noise).astype(np.float32)
