"""How a model generates text, decided once: what it is measured with, on every backend, is what is published with it.

Before the text stand the tokens that tell Whisper what to do: start, language, task, no timestamps. A transcript holds
no more tokens than speech of its length can have, whatever the model goes on to say.
"""

import logging
import math
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Callable, Collection, Dict, List, Mapping, Optional, Sequence, Tuple

from transformers import GenerationConfig

from whisper_finetune_api.languages import LANGUAGES
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.messages.errors import TrainerError

#: Texts of 2,700 recorded prompts in English, French, Italian, Russian and Spanish have at most 10 tokens and 7 more a
#: second; in capital letters, 25 a second. Of scripts that the vocabulary knows badly a syllable takes up to 6 tokens
#: (Gujarati, among the names of countries in 33 languages), and people speak 5 to 8 syllables a second.
_TOKENS_PER_SECOND = 64
_TOKENS_AT_LEAST = 16
logger = logging.getLogger(__name__)


def longest_text_tokens(spec: WhisperFineTuneSpec, network_config: Any) -> int:
    """Return how many tokens a text has at most, with the prompt before it: as many as a label may have."""
    return min(spec.training.max_label_tokens, int(network_config.max_target_positions))


def complete_settings(
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
    settings.forced_decoder_ids = [list(pair) for pair in enumerate(prompt_ids[1:], start=1)]
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
    """Return what stays of a model's own settings. What is malformed is left out, and named in the log."""
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


def prompt_ids(tokenizer: Any, language_code: Optional[str], task: str) -> Tuple[int, ...]:
    """Return the ids of the prompt. Without a language (English-only model) neither language nor task is in it.

    ConfigInvalid where this vocabulary lacks one of them, or has them in another order than Whisper's.
    """
    spoken = [] if language_code is None else [f"<|{language_code}|>", f"<|{task}|>"]
    tokens = ["<|startoftranscript|>", *spoken, "<|notimestamps|>"]
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in tokens if token not in vocabulary]
    if missing:
        raise TrainerError("ConfigInvalid", _missing_message(missing, language_code))
    # Set one by one: set_prefix_tokens takes None for "as before", and a fine-tune may have been saved with others.
    tokenizer.language = None if language_code is None else LANGUAGES[language_code]
    tokenizer.task = None if language_code is None else task
    tokenizer.set_prefix_tokens(predict_timestamps=False)
    ids = tuple(tokenizer.convert_tokens_to_ids(tokens))
    # transformers counts the places of languages instead of looking them up: another order would train other tokens.
    if list(ids) != list(tokenizer.prefix_tokens):
        raise TrainerError(
            "ConfigInvalid",
            f"the tokenizer's special tokens are not in Whisper's order: {tokens} are {list(ids)}, "
            f"but transformers uses {tokenizer.prefix_tokens}; take the tokenizer of an unchanged Whisper model",
        )
    return ids


def _missing_message(missing: List[str], language_code: Optional[str]) -> str:
    if f"<|{language_code}|>" in missing:
        name = LANGUAGES.get(language_code or "", language_code)
        advice = "Cantonese exists in large-v3 and later only" if language_code == "yue" else "take another model"
        return f"language: this model has no token for {name} (<|{language_code}|>); {advice}"
    return f"model: its tokenizer lacks {', '.join(missing)}; take the tokenizer of an unchanged Whisper model"


@dataclass(frozen=True)
class Transcript:
    """What was heard of a clip. `is_cut` says that it went on longer than any speech of the clip's length could."""

    text: str
    is_cut: bool


def most_spoken_tokens(seconds: float) -> int:
    """Return how many tokens the text of a clip may have: more than can be said in so many seconds."""
    return _TOKENS_AT_LEAST + math.ceil(_TOKENS_PER_SECOND * seconds)


def read_transcript(tokenizer: Any, generated: Sequence[int], ends: Collection[int], seconds: float) -> Transcript:
    """Return the text of what was generated after the prompt, up to the first of the tokens that end a text."""
    tokens = list(takewhile(lambda token: token not in ends, generated))
    most = most_spoken_tokens(seconds)
    text: str = tokenizer.decode(tokens[:most], skip_special_tokens=True)
    return Transcript(text.strip(), len(tokens) > most)
