"""How a model is heard, decided once: what it is measured with, on every backend, is what is published with it."""

import logging
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from transformers import GenerationConfig

from whisper_finetune_api.languages import LANGUAGES
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec

logger = logging.getLogger(__name__)


def longest_text(spec: WhisperFineTuneSpec, network_config: Any) -> int:
    """Return how many tokens a text has at most, with the prompt before it: as many as a label may have."""
    return min(spec.training.max_label_tokens, int(network_config.max_target_positions))


def complete(
    network: Any, tokenizer: Any, prompt_ids: Tuple[int, ...], language_code: Optional[str], task: str, longest: int
) -> None:
    """Give the network settings for one language (None: English-only) and task, for texts of `longest` tokens."""
    settings = GenerationConfig(**_kept(network.generation_config, network.config.vocab_size))
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(settings, name) is None:
            setattr(settings, name, getattr(tokenizer, name))
    settings.decoder_start_token_id = prompt_ids[0]
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
        settings.lang_to_id = _language_tokens(network.generation_config, tokenizer)
        _set_language(settings, tokenizer, language_code, task)
    network.generation_config = settings
    if network.config.pad_token_id is None:
        # The training asks config.json for it, and some have none.
        network.config.pad_token_id = settings.pad_token_id
    # Old folders have these in config.json too, where they would win over the settings or contradict them.
    network.config.forced_decoder_ids = None
    network.config.suppress_tokens = None


def _kept(found: Any, vocabulary: int) -> Dict[str, Any]:
    """Return what stays of a model's own settings; what is malformed is left out, and named in the log."""
    given = {name: getattr(found, name, None) for name in _KEPT}
    kept = {name: value for name, value in given.items() if value is not None and _KEPT[name](value, vocabulary)}
    malformed = sorted(name for name, value in given.items() if value is not None and name not in kept)
    if malformed:
        logger.warning("generation_config.json: left out, because malformed: %s", ", ".join(malformed))
    return kept


def _is_token(value: Any, vocabulary: int) -> bool:
    return type(value) is int and 0 <= value < vocabulary


def _are_tokens(value: Any, vocabulary: int) -> bool:
    return isinstance(value, list) and all(_is_token(each, vocabulary) for each in value)


def _is_number(value: Any, _vocabulary: int) -> bool:
    return type(value) is int and value >= 0


def _are_heads(value: Any, _vocabulary: int) -> bool:
    """Return whether these are pairs of a decoder layer and one of its heads."""
    pairs = value if isinstance(value, list) else [None]
    return all(isinstance(pair, list) and [type(each) for each in pair] == [int, int] for pair in pairs)


#: Of the model's own settings its tokens stay, and what it knows of them, each where it is well-formed; how it searches
#: for a text is decided here.
_KEPT: Mapping[str, Callable[[Any, int], bool]] = {
    "bos_token_id": _is_token,
    "eos_token_id": _is_token,
    "pad_token_id": _is_token,
    "prev_sot_token_id": _is_token,
    "begin_suppress_tokens": _are_tokens,
    "max_initial_timestamp_index": _is_number,
    "alignment_heads": _are_heads,
}


def _language_tokens(found: Any, tokenizer: Any) -> Dict[str, int]:
    """Return the tokens of all languages, those that a model added included, as its tokenizer has them."""
    own = getattr(found, "lang_to_id", None)
    vocabulary = tokenizer.get_vocab()
    tokens = [*(own if isinstance(own, dict) else ()), *(f"<|{code}|>" for code in LANGUAGES)]
    return {token: vocabulary[token] for token in tokens if token in vocabulary}


def _set_language(settings: Any, tokenizer: Any, language_code: str, task: str) -> None:
    vocabulary = tokenizer.get_vocab()
    settings.task_to_id = {name: vocabulary[f"<|{name}|>"] for name in ("transcribe", "translate")}
    # As a token: the one spelling that every version of transformers takes.
    settings.language = f"<|{language_code}|>"
    settings.task = task
