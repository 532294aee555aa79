"""How a model generates text. It is decided once: a model is measured with the settings that are published with it.

The prompt before a text tells Whisper what to do: start, language, task, no timestamps. A transcript has no more tokens
than speech of its length can have. What the model says after that is cut.
"""

import copy
import logging
import math
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Callable, Collection, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from transformers import GenerationConfig

from whisper_finetune_api.languages import LANGUAGES
from whisper_finetune_api.v1alpha1 import Training, WhisperFineTuneSpec
from whisper_finetune_trainer.messages.errors import TrainerError

#: The texts of 2,700 recorded prompts in English, French, Italian, Russian and Spanish have at most 10 tokens, and 7
#: more per second (25 in capital letters). In scripts that the vocabulary knows badly, a syllable has up to 6 tokens
#: (Gujarati, among the names of countries in 33 languages). People speak 5 to 8 syllables a second.
_TOKENS_PER_SECOND = 64
_TOKENS_AT_LEAST = 16
#: Before a prompt with what was said before.
BEFORE = "<|startofprev|>"
#: The first timestamp follows <|notimestamps|> in the vocabulary, and then comes one for each 0.02 s.
TIMESTAMPS_PER_SECOND = 50
logger = logging.getLogger(__name__)


def longest_text_tokens(spec: WhisperFineTuneSpec, network_config: Any) -> int:
    """Return how many tokens a text and its prompt have at most: as many as a label may have."""
    return min(spec.training.max_label_tokens, int(network_config.max_target_positions))


def complete_settings(
    network: Any, tokenizer: Any, prompt_ids: Tuple[int, ...], language_code: Optional[str], task: str, longest: int
) -> None:
    """Give the network its generation settings for one language and task, and for texts of at most `longest` tokens.

    `language_code` is None for an English-only model.
    """
    settings = GenerationConfig(**_kept(network.generation_config, network.config.vocab_size))
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(settings, name) is None:
            setattr(settings, name, getattr(tokenizer, name))
    settings.decoder_start_token_id = prompt_ids[0]
    settings.no_timestamps_token_id = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    settings.return_timestamps = False
    # transformers 4.29 takes language and task from these ids, unless they are arguments. Newer versions do so if the
    # settings have no language and task.
    settings.forced_decoder_ids = [list(pair) for pair in enumerate(prompt_ids[1:], start=1)]
    settings.is_multilingual = language_code is not None
    # transformers 5 allows so many tokens after the prompt.
    settings.max_length = longest
    # Without both, transformers' pipeline uses five beams.
    settings.num_beams = 1
    settings.do_sample = False
    # OpenAI's list has signs that are in texts to train on, such as : / @ ( and quotes. They would never be generated.
    settings.suppress_tokens = []
    if language_code is not None:
        settings.lang_to_id = _language_tokens(network.generation_config, tokenizer)
        _set_language(settings, tokenizer, language_code, task)
    network.generation_config = settings
    if network.config.pad_token_id is None:
        # The training reads it from config.json, and some models do not have it there.
        network.config.pad_token_id = settings.pad_token_id
    # Old folders have these in config.json too, where they would override or contradict the settings.
    network.config.forced_decoder_ids = None
    network.config.suppress_tokens = None


def _kept(found: Any, vocabulary: int) -> Dict[str, Any]:
    """Return the settings of the model that stay. Malformed ones are left out, and named in the log."""
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
    """Return whether a value is a list of pairs of a decoder layer and one of its heads."""
    pairs = value if isinstance(value, list) else [None]
    return all(isinstance(pair, list) and [type(each) for each in pair] == [int, int] for pair in pairs)


#: The model's own settings that stay if they are well-formed: its tokens, and what it knows about them. How it searches
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
    """Return the ids of all language tokens of the tokenizer, also of languages that the model has added."""
    own = getattr(found, "lang_to_id", None)
    vocabulary = tokenizer.get_vocab()
    tokens = [*(own if isinstance(own, dict) else ()), *(f"<|{code}|>" for code in LANGUAGES)]
    return {token: vocabulary[token] for token in tokens if token in vocabulary}


def _set_language(settings: Any, tokenizer: Any, language_code: str, task: str) -> None:
    vocabulary = tokenizer.get_vocab()
    settings.task_to_id = {name: vocabulary[f"<|{name}|>"] for name in ("transcribe", "translate")}
    # As a token, which is the only spelling that every version of transformers takes.
    settings.language = f"<|{language_code}|>"
    settings.task = task


def prompt_ids(tokenizer: Any, language_code: Optional[str], task: str) -> Tuple[int, ...]:
    """Return the ids of the prompt. For an English-only model (`language_code` is None) it has no language and no task.

    Raises ConfigInvalid if the vocabulary lacks one of the tokens, or has them in another order than Whisper.
    """
    spoken = [] if language_code is None else [f"<|{language_code}|>", f"<|{task}|>"]
    tokens = ["<|startoftranscript|>", *spoken, "<|notimestamps|>"]
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in tokens if token not in vocabulary]
    if missing:
        raise TrainerError("ConfigInvalid", _missing_message(missing, language_code))
    # Set one by one, because set_prefix_tokens takes None for "as before", and a model may be saved with other values.
    tokenizer.language = None if language_code is None else LANGUAGES[language_code]
    tokenizer.task = None if language_code is None else task
    tokenizer.set_prefix_tokens(predict_timestamps=False)
    ids = tuple(tokenizer.convert_tokens_to_ids(tokens))
    # transformers computes the ids of languages from their order. With another order, other tokens would be trained.
    if list(ids) != list(tokenizer.prefix_tokens):
        raise TrainerError(
            "ConfigInvalid",
            f"the tokenizer's special tokens are not in Whisper's order: {tokens} are {list(ids)}, "
            f"but transformers uses {tokenizer.prefix_tokens}; take the tokenizer of an unchanged Whisper model",
        )
    return ids


def other_prompt_ids(tokenizer: Any, language_code: str, task: str) -> Tuple[int, ...]:
    """Return the ids of a prompt for another language or task than the one that the tokenizer is set to.

    Raises ConfigInvalid if the vocabulary lacks one of the tokens.
    """
    tokens = ["<|startoftranscript|>", f"<|{language_code}|>", f"<|{task}|>", "<|notimestamps|>"]
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in tokens if token not in vocabulary]
    if missing:
        raise TrainerError("ConfigInvalid", _missing_message(missing, language_code))
    return tuple(vocabulary[token] for token in tokens)


@contextmanager
def prompted(
    network: Any, tokenizer: Any, prompt_ids: Tuple[int, ...], language_code: str, task: str
) -> Iterator[None]:
    """Give the network the generation settings of another language or task, for as long as the context lasts."""
    usual = network.generation_config
    settings = copy.deepcopy(usual)
    settings.forced_decoder_ids = [list(pair) for pair in enumerate(prompt_ids[1:], start=1)]
    _set_language(settings, tokenizer, language_code, task)
    network.generation_config = settings
    try:
        yield
    finally:
        network.generation_config = usual


def require_packing_tokens(tokenizer: Any, training: Training, window_seconds: int) -> None:
    """Raise ConfigInvalid where a tokenizer lacks the tokens that a training with timestamps or prompts needs."""
    vocabulary = tokenizer.get_vocab()
    first = vocabulary["<|notimestamps|>"] + 1
    timestamps = {"<|0.00|>": first, f"<|{window_seconds}.00|>": first + window_seconds * TIMESTAMPS_PER_SECOND}
    if training.timestamp_part and any(vocabulary.get(token) != number for token, number in timestamps.items()):
        raise TrainerError(
            "ConfigInvalid",
            f"training.timestampRate: the model's tokenizer has no timestamps such as {', '.join(timestamps)} after "
            "<|notimestamps|>; set timestampRate to 0.0, or take the newest tokenizer of an unchanged Whisper model",
        )
    if training.prompt_part and BEFORE not in vocabulary:
        raise TrainerError(
            "ConfigInvalid",
            f"training.promptRate: the model's tokenizer has no {BEFORE}; leave promptRate out, or take the tokenizer "
            "of an unchanged Whisper model",
        )


def _missing_message(missing: List[str], language_code: Optional[str]) -> str:
    if f"<|{language_code}|>" in missing:
        name = LANGUAGES.get(language_code or "", language_code)
        advice = "Cantonese exists in large-v3 and later only" if language_code == "yue" else "take another model"
        return f"language: this model has no token for {name} (<|{language_code}|>); {advice}"
    return f"model: its tokenizer lacks {', '.join(missing)}; take the tokenizer of an unchanged Whisper model"


@dataclass(frozen=True)
class Transcript:
    """What was heard of a clip. `is_cut` says that the model went on for longer than any speech of that length.

    `is_unended` says that the text is not too long for its clip, but had as many tokens as any text may have before the
    model ended it.
    """

    text: str
    is_cut: bool
    is_unended: bool = False

    @property
    def ran_into_a_limit(self) -> bool:
        """Whether a limit ended the text, and not the model."""
        return self.is_cut or self.is_unended


def most_spoken_tokens(seconds: float) -> int:
    """Return how many tokens the text of a clip may have at most: more than anybody can say in so many seconds."""
    return _TOKENS_AT_LEAST + math.ceil(_TOKENS_PER_SECOND * seconds)


def read_transcript(tokenizer: Any, generated: Sequence[int], ends: Collection[int], seconds: float) -> Transcript:
    """Return the text of the generated tokens after the prompt.

    It ends at the first of the tokens in `ends`, or where it is too long for a clip of so many `seconds`.
    """
    tokens = list(takewhile(lambda token: token not in ends, generated))
    most = most_spoken_tokens(seconds)
    text: str = tokenizer.decode(tokens[:most], skip_special_tokens=True)
    is_cut = len(tokens) > most
    return Transcript(text.strip(), is_cut, is_unended=not is_cut and len(tokens) == len(generated))
