"""Whisper's tokenizer from OpenAI's file of token ranks."""

import base64
import itertools
from collections.abc import Mapping

from tokenizers import AddedToken
from transformers import WhisperTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from demo.faults import DemoError
from whisper_finetune_api.languages import LANGUAGES

END_OF_TEXT = "<|endoftext|>"
#: Cantonese is new in large-v3.
SPOKEN = [language for language in LANGUAGES if language != "yue"]
SPECIAL_TOKENS = [
    END_OF_TEXT,
    "<|startoftranscript|>",
    *(f"<|{language}|>" for language in SPOKEN),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nocaptions|>",
    "<|notimestamps|>",
]
TIMESTAMPS = 1501
SECONDS_PER_TIMESTAMP = 0.02

Ranks = Mapping[bytes, int]
_PAIR = 2


def read_ranks(text: bytes) -> Ranks:
    """Return the rank of each token: the order in which byte pair encoding made it."""
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in text.splitlines())}


def merge_of(ranks: Ranks, token: bytes) -> tuple[bytes, bytes]:
    """Return the two parts that `token` was merged from: what it becomes when only the earlier merges are known."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > _PAIR:
        candidates = [ranks.get(left + right, len(ranks)) for left, right in itertools.pairwise(parts)]
        best = candidates.index(min(candidates))
        if candidates[best] >= ranks[token]:
            raise DemoError(f"token {token!r} of Whisper's ranks is not a merge of earlier tokens: the file is damaged")
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


def vocabulary_and_merges(ranks: Ranks) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return both in the spelling of GPT-2, which has one visible character for each byte."""
    visible = bytes_to_unicode()

    def spell(token: bytes) -> str:
        return "".join(visible[byte] for byte in token)

    in_order = sorted(ranks, key=lambda token: ranks[token])
    merges = [merge_of(ranks, token) for token in in_order if len(token) > 1]
    return {spell(token): ranks[token] for token in in_order}, [(spell(left), spell(right)) for left, right in merges]


def build(ranks: Ranks) -> WhisperTokenizer:
    """Return the multilingual tokenizer: the ranks, then the special tokens, then the timestamps."""
    vocabulary, merges = vocabulary_and_merges(ranks)
    vocabulary |= {token: len(ranks) + place for place, token in enumerate(SPECIAL_TOKENS)}
    tokenizer = WhisperTokenizer(
        vocab=vocabulary, merges=merges, pad_token=END_OF_TEXT, extra_special_tokens=SPECIAL_TOKENS[1:]
    )
    seconds = [place * SECONDS_PER_TIMESTAMP for place in range(TIMESTAMPS)]
    tokenizer.add_tokens([AddedToken(f"<|{second:.2f}|>", normalized=False, special=False) for second in seconds])
    return tokenizer
