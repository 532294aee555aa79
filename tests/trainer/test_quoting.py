"""Messages quote a little of the data, without control characters."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

import data_layouts
from layout_checks import refusal
from whisper_finetune_trainer.messages import errors

#: Of 300 characters, each three of which are found nowhere else in it.
LONG = "".join(f"{number:03d}" for number in range(100))


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("audio/train-0001.wav", "audio/train-0001.wav"),
        ("x" * 40, "x" * 40),
        ("a" * 30 + "b" * 30, "a" * 15 + "..." + "b" * 22),
        ("\x1b]52;c;cm0=\x07", "\\x1b]52;c;cm0=\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("one\ntwo\u2028three\u202efour", "one\\ntwo\\u2028three\\u202efour"),
        ("\ud800", "\\ud800"),
        ("perch\u00e9 \u4f60\u597d", "perch\u00e9 \u4f60\u597d"),
        (None, "None"),
    ],
)
def test_quotes_are_short_and_printable(text: object, quoted: str) -> None:
    assert errors.quoted(text) == quoted


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        ([], "none"),
        (["train", "test"], "train, test"),
        (["client_id", "path", "sentence_id", "sentence", "up_votes"], "client_id, path, sentence_id and 2 more"),
        ([LONG, "b"], f"{LONG[:15]}...{LONG[-22:]} and 1 more"),
    ],
)
def test_names_are_listed_in_40_characters(names: list[str], listed: str) -> None:
    assert errors.listed(names) == listed


def test_a_library_is_quoted_in_one_short_line() -> None:
    assert errors.words_of(ValueError("bad\n  header\x1b[2J")) == "bad header\\x1b[2J"
    assert errors.words_of(ValueError()) == "ValueError"
    assert len(errors.words_of(ValueError("x" * 1_000))) == 160


def _rows(folder: Path, name: str, rows: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def _json_rows(folder: Path, **fields: object) -> None:
    data_layouts.write_sounds(folder)
    rows = [{"audio": f"{name}.flac", "text": "uno", **fields} for name in data_layouts.SPOKEN]
    _rows(folder, "train.jsonl", [json.dumps(row) for row in rows])


QUOTING = {
    "columns": lambda folder: _rows(folder, "train.csv", [f"{LONG},{LONG}", "a,b"]),
    "many columns": lambda folder: _rows(folder, "train.csv", [",".join(textwrap.wrap(LONG, 6)), "a" + "," * 49]),
    "path": lambda folder: _json_rows(folder, audio=LONG),
    "path outside": lambda folder: _json_rows(folder, audio=f"/{LONG}"),
    "no path": lambda folder: _json_rows(folder, audio=f"\0{LONG}"),
    "offset": lambda folder: _json_rows(folder, offset=LONG + "x"),
    "silent text": lambda folder: _json_rows(folder, text=f"\u4f60\u597d {LONG}"),
    "Kaldi, no path": lambda folder: (_rows(folder, "wav.scp", [LONG]), _rows(folder, "text", [f"{LONG} a"])),
    "Kaldi, command": lambda folder: (_rows(folder, "wav.scp", [f"{LONG} {LONG}|"]), _rows(folder, "text", ["a b"])),
    "Kaldi, segment": lambda folder: (
        _rows(folder, "wav.scp", ["a b.wav"]),
        _rows(folder, "text", ["a b"]),
        _rows(folder, "segments", [f"{LONG} {LONG}"]),
    ),
    "files": lambda folder: _rows(folder, f"{LONG[:200]}.bin", [""]),
    "splits": lambda folder: [_rows(folder, f"x{LONG[:100]}{number}.csv", [""]) for number in range(9)],
    "tar": lambda folder: (
        folder.mkdir(),
        data_layouts.write_tar(folder / "train.tar", [(f"{LONG[:80]}.wav", b"no sound"), (f"{LONG[:80]}.txt", b"a")]),
    ),
    "NeMo, tarred": lambda folder: (
        folder.mkdir(),
        data_layouts.write_tar(folder / "audio_0.tar", [("a.wav", b"")]),
        _json_rows(folder, shard_id=0, audio=LONG),
    ),
}


@pytest.mark.parametrize("write", QUOTING.values(), ids=QUOTING)
def test_no_message_holds_more_than_40_characters_of_one_thing(tmp_path: Path, write: object) -> None:
    write(tmp_path / "clips")  # type: ignore[operator]  # one of the functions above
    message = refusal(tmp_path).message
    assert not [place for place in range(300 - 40) if LONG[place : place + 41] in message], message


def test_columns_are_quoted_in_40_characters_together(tmp_path: Path) -> None:
    QUOTING["many columns"](tmp_path / "clips")
    shown = refusal(tmp_path).message.split("its columns are ")[1]
    assert shown == "000001, 002003, 004005 and 47 more"
