"""What the fuzz tests share: hypothesis for a limited time, and content that is nearly what a reader expects."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: How long each reader is tried, and with which numbers it begins: `make fuzz FUZZ_SECONDS=3600 FUZZ_SEED=1000` tries
#: others, and for longer.
SECONDS = float(os.environ.get("FUZZ_SECONDS", "5"))
FIRST_SEED = int(os.environ.get("FUZZ_SEED", "0"))
_EXAMPLES = 50
_SETTINGS = settings(
    max_examples=_EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
#: Bytes that some reader takes for more than a letter.
SIGNIFICANT_PIECES = (
    b"\x00", b"\n", b"\r\n", b"\t", b" ", b'"', b"'", b",", b";", b"|", b"\\", b"/", b"..", b"<|", b"|>", b"{", b"}",
    b"[", b"]", b"(", b"-1", b"NaN", b"1e999", b"null", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[2J",
    b"\xc2\x9b", b"\xe2\x80\xae", b"9" * 400,
)  # fmt: skip


def for_a_while(holds: Callable[[Any], None], inputs: st.SearchStrategy[Any]) -> None:
    """Look for an input for which `holds` raises, for FUZZ_SECONDS; hypothesis makes it small and shows it."""
    end = time.monotonic() + SECONDS
    for seed in itertools.count(FIRST_SEED):
        hypothesis.seed(seed)(_SETTINGS(hypothesis.given(inputs)(_named(holds))))()
        if time.monotonic() >= end:
            return


def _named(holds: Callable[[Any], None]) -> Callable[[Any], None]:
    def check(given: Any) -> None:
        holds(given)

    return check


def texts(limit: int = 30) -> st.SearchStrategy[str]:
    """Return texts of people and of those who mean harm."""
    odd = st.sampled_from([piece.decode("utf-8", "surrogatepass") for piece in SIGNIFICANT_PIECES if piece != b"\xff"])
    return st.lists(st.one_of(odd, st.text(max_size=5)), max_size=limit // 5).map("".join)


def json_values() -> st.SearchStrategy[Any]:
    """Return what JSON can say, huge and non-finite numbers among it."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=-(10**30), max_value=10**30),
        st.floats(),
        texts(),
    )
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(10), inner, max_size=3)
    )


def json_line(value: Any) -> str:
    """Return a value as JSON, lone surrogates and all."""
    return json.dumps(value)


@st.composite
def objects(draw: Callable[..., Any], good: dict[str, Any]) -> dict[str, Any]:
    """Return a good object with some fields of any value, missing, or unheard of."""
    made = dict(good)
    for name in draw(st.lists(st.sampled_from([*good, "unheardOf", ""]), max_size=3)):
        if draw(st.booleans()):
            made.pop(name, None)
        else:
            made[name] = draw(json_values())
    return made


@st.composite
def damaged(draw: Callable[..., Any], good: st.SearchStrategy[bytes]) -> bytes:
    """Return good content with parts of it cut out, written twice, or replaced."""
    made = bytearray(draw(good))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(made)))
        end = min(len(made), start + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["cut", "twice", "insert", "replace", "end"]))
        piece = draw(st.one_of(st.sampled_from(SIGNIFICANT_PIECES), st.binary(max_size=8)))
        if kind == "cut":
            del made[start:end]
        elif kind == "twice":
            made[start:start] = made[start:end]
        elif kind == "insert":
            made[start:start] = piece
        elif kind == "replace":
            made[start : start + len(piece)] = piece
        else:
            del made[start:]
    return bytes(made)
