"""The tokenizer's files in the spelling that transformers 5 and 4.29 both read. Pure: contents in, contents out."""

import json
from typing import Any, Dict, List, Mapping

_END = "<|endoftext|>"


def tokenizer_files(
    tokenizer: Mapping[str, Any], config: Mapping[str, Any], spellings: Mapping[str, str]
) -> Dict[str, str]:
    """Return file name to text, given transformers 5's tokenizer.json, tokenizer_config.json and English spellings."""
    added = {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]}
    merges = [_joined(merge) for merge in tokenizer["model"]["merges"]]
    special = [entry["content"] for entry in tokenizer["added_tokens"] if entry["special"]]
    return {
        "tokenizer.json": _json({**tokenizer, "model": {**tokenizer["model"], "merges": merges}}),
        "tokenizer_config.json": _json(config),
        "vocab.json": _json(_base_vocabulary(tokenizer["model"]["vocab"], added)),
        "merges.txt": "".join(line + "\n" for line in ["#version: 0.2", *merges]),
        "added_tokens.json": _json({text: number for text, number in added.items() if text != _END}),
        "special_tokens_map.json": _json(_special_tokens_map(special)),
        "normalizer.json": _json(spellings),
    }


def _joined(merge: Any) -> str:
    # tokenizers 0.20 and newer write pairs, which 0.13 cannot read; every version reads "a b".
    return merge if isinstance(merge, str) else " ".join(merge)


def _base_vocabulary(vocabulary: Mapping[str, int], added: Mapping[str, int]) -> Dict[str, int]:
    base = {text: number for text, number in vocabulary.items() if text not in added}
    return {**base, _END: {**vocabulary, **added}[_END]}


def _special_tokens_map(special: List[str]) -> Dict[str, Any]:
    # transformers 4.29 finds tokens by their place from the end of this list: all, in the order of their ids.
    return {
        **{f"{role}_token": _END for role in ("bos", "eos", "pad", "unk")},
        "additional_special_tokens": [_END, *[token for token in special if token != _END]],
    }


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
