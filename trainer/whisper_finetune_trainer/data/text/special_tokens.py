"""Special tokens of Whisper in texts, as its own tools write them: timestamps and whole prompts. Pure.

The tokenizer makes tokens of them that nobody speaks: trained on they teach the model to write timestamps where it was
told not to, and no transcript can be equal to a text that holds them.
"""

import json
import re
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Sequence

from whisper_finetune_api.languages import LANGUAGES

_TOKEN = re.compile(r"(<\|[^<>|]{0,40}\|>)")
#: Signs that no blank goes before, where a token stood between.
_SIGNS = frozenset(",.;:!?\u2026\u060c\u061b\u061f\u3001\u3002")
_TIMESTAMP = re.compile(r"<\|[0-9]+\.[0-9]+\|>")
_TASKS = ("startoftranscript", "endoftext", "translate", "transcribe", "startoflm", "startofprev")
_MARKS = ("nospeech", "nocaptions", "notimestamps")
#: What was said before the clip stands between these two.
_BEFORE, _START = "<|startofprev|>", "<|startoftranscript|>"


def without_special_tokens(text: str, words: FrozenSet[str], between: str) -> str:
    """Return a text without its special tokens and what was said before it. `words` are tokens that stay.

    `between` words that a token parts is a space, nothing in a language that is written without spaces.
    """
    if "<|" not in text:
        return text
    pieces = _TOKEN.split(_without_what_was_before(text))
    spoken = [piece for piece in pieces if piece in words or not _TOKEN.fullmatch(piece)]
    if "".join(spoken) == text:
        return text
    return " ".join(_joined(pieces, words, between).split())


def _joined(pieces: Sequence[str], words: FrozenSet[str], between: str) -> str:
    """Join pieces of a text without the tokens. A blank that only a token had need of goes with it."""
    joined: List[str] = []
    parted = False
    for piece in reversed(pieces):
        is_token = piece not in words and _TOKEN.fullmatch(piece) is not None
        before_sign = parted and joined and joined[-1][0] in _SIGNS
        said = "" if is_token else piece.rstrip() if before_sign else piece
        parted = parted or is_token
        if said:
            joined += [between] if parted and joined and between and not before_sign else []
            joined.append(said)
            parted = False
    return "".join(reversed(joined))


def words_like_tokens(tokenizer: Any) -> FrozenSet[str]:
    """Return the tokens that look like special ones, and that somebody gave a tokenizer as words."""
    return frozenset(
        token["content"]
        for token in _added(tokenizer)
        if not token["special"] and _TOKEN.fullmatch(token["content"]) and not _is_whispers(token["content"])
    )


def special_token_ids(tokenizer: Any) -> Dict[int, str]:
    """Return the special tokens of a tokenizer by their ids, timestamps among them."""
    words = words_like_tokens(tokenizer)
    return {
        token["id"]: token["content"]
        for token in _added(tokenizer)
        if token["special"] or (_TOKEN.fullmatch(token["content"]) and token["content"] not in words)
    }


def _added(tokenizer: Any) -> Iterable[Mapping[str, Any]]:
    # What tells special ones has another name in each version of transformers.
    return list(json.loads(tokenizer.backend_tokenizer.to_str())["added_tokens"])


def _is_whispers(token: str) -> bool:
    return bool(_TIMESTAMP.fullmatch(token)) or token[2:-2] in {*_TASKS, *_MARKS, *LANGUAGES}


def _without_what_was_before(text: str) -> str:
    first, *others = text.split(_BEFORE)
    return first + "".join(part.partition(_START)[2] for part in others)
