"""whisper.cpp, by the library in pywhispercpp's wheel: it hears samples with its own mel filters and vocabulary."""

from pathlib import Path
from typing import Any, Sequence

import _pywhispercpp as whisper_cpp
import numpy as np

from whisper_finetune_api.languages import LANGUAGES
from whisper_finetune_trainer.exports import ggml_file
from whisper_finetune_trainer.exports.engines import Hear, HearingSettings, Samples
from whisper_finetune_trainer.model import generation
from whisper_finetune_trainer.model.generation import Transcript

_FILE = "ggml-model.bin"
#: It refuses to hear less than a tenth of a second.
_LEAST_SAMPLES = 1760


class WhisperCppEngine:
    """Makes ggml-model.bin, and hears with it."""

    def convert(self, model: Path, target: Path, weights: str) -> None:
        """Write the export of a plain Hugging Face folder. Raises ValueError where it has another vocabulary."""
        ggml_file.write_ggml_file(model, target / _FILE, weights)

    def open(self, target: Path, settings: HearingSettings, threads: int) -> Hear:
        """Load an export. The process ends where it is broken."""
        loading = whisper_cpp.whisper_context_default_params()
        # On CPUs its flash attention adds in float16, and hears other words than the model in clips that are hard.
        loading.flash_attn = False
        context = whisper_cpp.whisper_init_from_file_with_params(str(target / _FILE), loading)
        tokenizer = _Tokenizer(context)
        parameters = _parameters(context, settings, threads)

        def hear(samples: Samples, seconds: float) -> Transcript:
            most = min(generation.most_spoken_tokens(seconds) + 1, settings.most_tokens - len(settings.prompt_ids))
            parameters.max_tokens = most
            heard = np.pad(samples, (0, max(0, _LEAST_SAMPLES - len(samples))))
            if whisper_cpp.whisper_full(context, parameters, heard, len(heard)):
                raise RuntimeError("whisper.cpp cannot hear a clip")
            tokens = _generated(context)
            ended = [*tokens, min(settings.end_ids)] if len(tokens) < most else tokens
            return generation.read_transcript(tokenizer, ended, settings.end_ids, seconds)

        return hear


class _Tokenizer:
    """The vocabulary that is in the export's file."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool) -> str:
        end = whisper_cpp.whisper_token_eot(self._context)
        kept = (token for token in tokens if token < end or not skip_special_tokens)
        text = b"".join(whisper_cpp.whisper_token_to_bytes(self._context, token) for token in kept)
        return text.decode(errors="replace")


def _parameters(context: Any, settings: HearingSettings, threads: int) -> Any:
    """Return what asks for one greedy text, which nothing but the model itself and the limit of tokens ends."""
    found = whisper_cpp.whisper_full_default_params(whisper_cpp.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY)
    found.n_threads = threads
    found.language, found.translate = _language_and_task(context, settings)
    found.single_segment = found.no_timestamps = found.no_context = True
    found.print_progress = found.print_timestamps = False
    found.greedy = {"best_of": 1}
    found.temperature_inc = 0.0
    found.logprob_thold, found.entropy_thold, found.no_speech_thold = -1e9, 0.0, 1.0
    return found


def _language_and_task(context: Any, settings: HearingSettings) -> Any:
    ids = {whisper_cpp.whisper_token_lang(context, number): code for number, code in enumerate(LANGUAGES)}
    named = (ids[token] for token in settings.prompt_ids[1:] if token in ids)
    return next(named, "en"), whisper_cpp.whisper_token_translate(context) in settings.prompt_ids


def _generated(context: Any) -> Sequence[int]:
    end = whisper_cpp.whisper_token_eot(context)
    segments = range(whisper_cpp.whisper_full_n_segments(context))
    found = [
        whisper_cpp.whisper_full_get_token_id(context, segment, index)
        for segment in segments
        for index in range(whisper_cpp.whisper_full_n_tokens(context, segment))
    ]
    return [token for token in found if token != end]


ENGINE = WhisperCppEngine()
