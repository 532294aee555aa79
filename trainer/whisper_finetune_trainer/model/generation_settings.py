"""Complete a model's generation settings, which old fine-tunes lack in part, for one language and task."""

from typing import Any, Optional, Tuple

from whisper_finetune_api.languages import LANGUAGES

#: transformers' own default, which would cut every transcript after 20 tokens.
_LIBRARY_MAX_LENGTH = 20


def complete(
    network: Any, tokenizer: Any, prompt_ids: Tuple[int, ...], language_code: Optional[str], task: str
) -> None:
    """Set prompt, language (None: English-only) and task, and missing token tables, on generation_config."""
    settings = network.generation_config
    settings.decoder_start_token_id = network.config.decoder_start_token_id
    settings.no_timestamps_token_id = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    settings.return_timestamps = False
    # transformers 4.29 heeds language and task as arguments only, but these; newer ones where those are absent.
    settings.forced_decoder_ids = [list(place) for place in enumerate(prompt_ids[1:], start=1)]
    # What the base model was made for would win over them there.
    network.config.forced_decoder_ids = None
    settings.is_multilingual = language_code is not None
    limit = network.config.max_target_positions
    if settings.max_length in (None, _LIBRARY_MAX_LENGTH) or settings.max_length > limit:
        settings.max_length = limit
    if language_code is not None:
        _set_language(settings, tokenizer, language_code, task)


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
