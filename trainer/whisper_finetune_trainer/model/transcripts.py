"""What is heard of a clip: no more tokens than speech of its length can have, whatever the model goes on to say.

How many that are: texts of 2,700 recorded prompts in English, French, Italian, Russian and Spanish have at most 10
tokens and 7 more a second; in capital letters, 25 a second. Of scripts that the vocabulary knows badly a syllable takes
up to 6 tokens (Gujarati, among the names of countries in 33 languages), and people speak 5 to 8 syllables a second.
"""

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Collection, Sequence

_TOKENS_PER_SECOND = 64
_TOKENS_AT_LEAST = 16


@dataclass(frozen=True)
class Transcript:
    """What was heard of a clip; `is_cut` where it went on for longer than any speech of the clip's length could."""

    text: str
    is_cut: bool


def most_tokens(seconds: float) -> int:
    """Return how many tokens the text of a clip may have: more than can be said in so many seconds."""
    return _TOKENS_AT_LEAST + math.ceil(_TOKENS_PER_SECOND * seconds)


def transcript(tokenizer: Any, generated: Sequence[int], ends: Collection[int], seconds: float) -> Transcript:
    """Return the text of what was generated after the prompt, up to the first of the tokens that end a text."""
    tokens = list(takewhile(lambda token: token not in ends, generated))
    most = most_tokens(seconds)
    text: str = tokenizer.decode(tokens[:most], skip_special_tokens=True)
    return Transcript(text.strip(), len(tokens) > most)
