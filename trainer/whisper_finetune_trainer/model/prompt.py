"""The tokens that tell Whisper what to do: start, language, task, no timestamps. And the labels they stand before."""

from typing import Any, List, Optional, Tuple

from whisper_finetune_api.languages import LANGUAGES
from whisper_finetune_trainer.messages.errors import TrainerError


def prompt_ids(tokenizer: Any, language_code: Optional[str], task: str) -> Tuple[int, ...]:
    """Return the ids of the prompt; without a language (English-only model) neither language nor task is in it.

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


def label_ids(tokenizer: Any, prompt: Tuple[int, ...], text: str) -> List[int]:
    """Return what the decoder shall say after the start token: the rest of the prompt, the text and the end token.

    The start token is left out because the model puts it before the labels itself; kept, it would be doubled.
    """
    return [*prompt[1:], *tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
