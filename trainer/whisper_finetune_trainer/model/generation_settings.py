"""How a model is heard, decided once: what it is measured with, on every backend, is what is published with it."""

from typing import Any, Optional, Tuple

from transformers import GenerationConfig

from whisper_finetune_api.languages import LANGUAGES
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec

#: Of the model's own settings its tokens stay, and what it knows of them; how it searches for a text is decided here.
_KEPT = (
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "prev_sot_token_id",
    "begin_suppress_tokens",
    "max_initial_timestamp_index",
    "alignment_heads",
    "lang_to_id",
    "task_to_id",
)


def longest_text(spec: WhisperFineTuneSpec, network_config: Any) -> int:
    """Return how many tokens a text has at most, with the prompt before it: as many as a label may have."""
    return min(spec.training.max_label_tokens, int(network_config.max_target_positions))


def complete(
    network: Any, tokenizer: Any, prompt_ids: Tuple[int, ...], language_code: Optional[str], task: str, longest: int
) -> None:
    """Give the network settings for one language (None: English-only) and task, for texts of `longest` tokens."""
    kept = {name: getattr(network.generation_config, name, None) for name in _KEPT}
    settings = GenerationConfig(**{name: value for name, value in kept.items() if value is not None})
    settings.decoder_start_token_id = network.config.decoder_start_token_id
    settings.no_timestamps_token_id = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    settings.return_timestamps = False
    # transformers 4.29 heeds language and task as arguments only, but these; newer ones where those are absent.
    settings.forced_decoder_ids = [list(place) for place in enumerate(prompt_ids[1:], start=1)]
    settings.is_multilingual = language_code is not None
    # transformers 5 lets a text have as many tokens after the prompt.
    settings.max_length = longest
    # Without both, transformers' pipeline takes five beams.
    settings.num_beams = 1
    settings.do_sample = False
    # OpenAI's list holds much that stands in texts to train on, such as : / @ ( and quotes: it would never be heard.
    settings.suppress_tokens = []
    if language_code is not None:
        _set_language(settings, tokenizer, language_code, task)
    network.generation_config = settings
    # Old folders have these in config.json too, where they would win over the settings or contradict them.
    network.config.forced_decoder_ids = None
    network.config.suppress_tokens = None


def _set_language(settings: Any, tokenizer: Any, language_code: str, task: str) -> None:
    vocabulary = tokenizer.get_vocab()
    if not getattr(settings, "lang_to_id", None):
        tokens = [f"<|{code}|>" for code in LANGUAGES]
        settings.lang_to_id = {token: vocabulary[token] for token in tokens if token in vocabulary}
    if not getattr(settings, "task_to_id", None):
        settings.task_to_id = {name: vocabulary[f"<|{name}|>"] for name in ("transcribe", "translate")}
    # As a token: the one spelling that every version of transformers takes.
    settings.language = f"<|{language_code}|>"
    settings.task = task
