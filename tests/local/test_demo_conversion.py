"""The demo reads CTranslate2's file and OpenAI's ranks, and writes what transformers reads."""

import struct

import numpy as np
import pytest
import torch

from demo.faults import DemoError
from demo.input import ct2_checkpoint, whisper_tokenizer, whisper_weights
from demo.input.ct2_checkpoint import Variables


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def checkpoint(*, version: int = 6, tail: bytes = b"") -> bytes:
    """Return a file of two variables, float16 and int8, and one alias, as CTranslate2 writes it."""
    weight = np.arange(6, dtype=np.float16).tobytes()
    variables = text("weight") + struct.pack("<BIIBI", 2, 2, 3, 4, len(weight)) + weight
    variables += text("heads") + struct.pack("<BBI", 0, 1, 1) + b"\x08"
    aliases = struct.pack("<I", 1) + text("same") + text("weight")
    return struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, 2) + variables + aliases + tail


def test_variables_and_aliases_are_read() -> None:
    variables = ct2_checkpoint.read(checkpoint())
    assert variables["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert variables["same"] is variables["weight"]
    assert int(variables["heads"]) == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (checkpoint(version=7), "WhisperSpec version 7, and WhisperSpec version 6 is needed"),
        (checkpoint(tail=b"more"), "bytes, of which"),
    ],
)
def test_any_other_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DemoError, match=message):
        ct2_checkpoint.read(content)


def fused_variables(key_bias: float) -> Variables:
    return {
        "attention/weight": np.arange(12, dtype=np.float16).reshape(6, 2),
        "attention/bias": np.array([1, 2, key_bias, 0, 5, 6], dtype=np.float16),
    }


def test_a_fused_projection_is_taken_apart() -> None:
    state = whisper_weights.fused(fused_variables(0), "attention", "self_attn", ("q_proj", "k_proj", "v_proj"))
    assert set(state) == {f"self_attn.{name}" for name in (*weights("q", "k", "v"), "q_proj.bias", "v_proj.bias")}
    assert torch.equal(state["self_attn.v_proj.weight"], torch.tensor([[8.0, 9.0], [10.0, 11.0]]))
    assert torch.equal(state["self_attn.v_proj.bias"], torch.tensor([5.0, 6.0]))


def weights(*names: str) -> list[str]:
    return [f"{name}_proj.weight" for name in names]


def test_a_bias_of_k_is_refused_instead_of_lost() -> None:
    with pytest.raises(DemoError, match="has a bias for k"):
        whisper_weights.fused(fused_variables(3), "attention", "self_attn", ("q_proj", "k_proj", "v_proj"))


def test_each_merge_is_the_one_that_made_its_token() -> None:
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"bc": 3, b"ab": 4, b"abc": 5}
    # `abc` is a+bc and not ab+c, as bc was made before ab.
    assert whisper_tokenizer.merge_of(ranks, b"abc") == (b"a", b"bc")
    vocabulary, merges = whisper_tokenizer.vocabulary_and_merges(ranks)
    assert merges == [("b", "c"), ("a", "b"), ("a", "bc")]
    assert vocabulary == {"a": 0, "b": 1, "c": 2, "bc": 3, "ab": 4, "abc": 5}


def test_ranks_with_a_hole_are_refused() -> None:
    with pytest.raises(DemoError, match="the file is damaged"):
        whisper_tokenizer.merge_of({b"a": 0, b"b": 1, b"c": 2, b"abc": 3}, b"abc")
