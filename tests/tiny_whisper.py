"""A random Whisper with 190,000 weights with the real special tokens in the real order, and tones to train it on."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration, WhisperTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from whisper_finetune_api import languages
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.model import model_folder
from whisper_finetune_trainer.model.backend import BackendSettings

#: The machine may be busy, and PyTorch's threads wait for each other; networks as small as these gain nothing by two.
torch.set_num_threads(1)
_TASK_TOKENS = [
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nocaptions|>",
    "<|notimestamps|>",
]


def special_tokens(*, cantonese: bool = False) -> list[str]:
    """Return Whisper's special tokens after <|endoftext|>, in their order; large-v3 alone has Cantonese."""
    codes = list(languages.LANGUAGES) if cantonese else list(languages.LANGUAGES)[:99]
    return ["<|startoftranscript|>", *[f"<|{code}|>" for code in codes], *_TASK_TOKENS]


def tokenizer(*, cantonese: bool = False, merges: Sequence[tuple[str, str]] = ()) -> WhisperTokenizer:
    """Return a tokenizer of 256 bytes and what `merges` makes of them; the timestamps come last as in the real one."""
    tokens = ["<|endoftext|>", *special_tokens(cantonese=cantonese)]
    texts = [*bytes_to_unicode().values(), *map("".join, merges), *tokens]
    vocabulary = {text: number for number, text in enumerate(texts)}
    made = WhisperTokenizer(
        vocab=vocabulary,
        merges=list(merges),
        pad_token=tokens[0],
        extra_special_tokens=tokens[1:],
    )
    made.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    return made


def build(
    folder: Path,
    *,
    window_seconds: int = 2,
    english_only: bool = False,
    cantonese: bool = False,
    merges: Sequence[tuple[str, str]] = (),
    **changes: Any,
) -> Path:
    """Write a model folder and return it; `changes` are values of WhisperConfig."""
    values = tuple(sorted(changes.items()))
    built = _build_once(window_seconds, english_only, cantonese, tuple(merges), values)
    shutil.copytree(built.folder, folder, dirs_exist_ok=True)
    torch.set_rng_state(built.random_state)
    return folder


class _Built(NamedTuple):
    """A folder to copy, and the state of PyTorch's random numbers after its weights were drawn."""

    folder: Path
    random_state: torch.Tensor


@functools.cache
def _build_once(
    window_seconds: int,
    english_only: bool,  # noqa: FBT001 -- a key
    cantonese: bool,  # noqa: FBT001 -- a key
    merges: tuple[tuple[str, str], ...],
    changes: tuple[tuple[str, Any], ...],
) -> _Built:
    """Make each model once in a process: its tokenizer costs more than its weights."""
    own = tempfile.mkdtemp(prefix="tiny-whisper-")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    # Its copies get its mode, and a pod has to read them.
    folder = Path(own) / "model"
    folder.mkdir()
    tokens = tokenizer(cantonese=cantonese, merges=merges)
    torch.manual_seed(0)
    network = WhisperForConditionalGeneration(_config(tokens, window_seconds, dict(changes)))
    network.generation_config = _generation_config(tokens, english_only=english_only)
    model_folder.write_model_folder(network, tokens, folder)
    return _Built(folder, torch.get_rng_state())


def _config(tokens: WhisperTokenizer, window_seconds: int, changes: dict[str, Any]) -> WhisperConfig:
    end, start = tokens.convert_tokens_to_ids(["<|endoftext|>", "<|startoftranscript|>"])
    values = {
        "vocab_size": len(tokens),
        "d_model": 64,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
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
    }
    return WhisperConfig(**{**values, **changes})


def _generation_config(tokens: WhisperTokenizer, *, english_only: bool) -> GenerationConfig:
    end, start, no_timestamps, previous = tokens.convert_tokens_to_ids(
        ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "<|startofprev|>"]
    )
    values: dict[str, Any] = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
        "max_length": 64,
        "is_multilingual": not english_only,
        "no_timestamps_token_id": no_timestamps,
        "prev_sot_token_id": previous,
        "return_timestamps": False,
    }
    if not english_only:
        codes = [token for token in tokens.extra_special_tokens if token[2:-2] in languages.LANGUAGES]
        values["lang_to_id"] = {token: tokens.convert_tokens_to_ids(token) for token in codes}
        values["task_to_id"] = {
            task: tokens.convert_tokens_to_ids(f"<|{task}|>") for task in ("transcribe", "translate")
        }
    return GenerationConfig(**values)


def backend_settings(config: TrainerConfig) -> BackendSettings:
    """Return what a backend for CPUs or GPUs reads of a run, whose schedule is the configuration's."""
    return BackendSettings(
        accelerator=config.accelerator,
        training=config.spec.training,
        schedule=config.schedule,
        ipu_plan=None,
        scratch_folder=config.scratch_folder,
        encoder_outputs_bytes=config.scratch_limit_bytes,
        ipu_wait_seconds=config.ipu_wait_seconds,
        cpus=1,
    )
