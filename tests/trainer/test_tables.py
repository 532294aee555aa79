"""Tables as people and programs write them: each line is a row, or counts as a broken one."""

from __future__ import annotations

from pathlib import Path

import pytest

import tones
from layout_checks import load, refusal
from whisper_finetune_trainer.data.layouts import manifest
from whisper_finetune_trainer.data.layouts.manifest import NoTableError

OPEN = "opens a quotation mark and does not close it: a cell is in one line, and a mark inside of it is written twice"


def read(text: str, suffix: str = ".csv") -> dict[int, list[str] | str]:
    """Return the cells of each row by its line, or what is wrong with it."""
    found = manifest.read_table(text.splitlines(keepends=True), suffix)
    return {row.number: row.broken or list(row.values.values()) for row in found}


def cells(line: str, header: str = "path,text", suffix: str = ".csv") -> list[str] | str:
    return read(f"{header}\n{line}\n", suffix)[2]


GOOD = {
    "plain": ("a.wav,ciao", ["a.wav", "ciao"]),
    "quoted": ('a.wav,"ciao, bella"', ["a.wav", "ciao, bella"]),
    "marks doubled": ('a.wav,"""ciao"", disse"', ["a.wav", '"ciao", disse']),
    "marks in the middle": ('a.wav,disse "ciao" a me', ["a.wav", 'disse "ciao" a me']),
    "inches": ('a.wav,schermo da 27"', ["a.wav", 'schermo da 27"']),
    "a blank before the mark": ('a.wav, "ciao, bella"', ["a.wav", "ciao, bella"]),
    "a blank behind the mark": ('a.wav,"ciao" ', ["a.wav", "ciao"]),
    "carriage return": ("a.wav,ciao\r", ["a.wav", "ciao"]),
    "cut at its end": ("a.wav", ["a.wav"]),
    "empty cells beyond the header": ("a.wav,ciao,, ", ["a.wav", "ciao"]),
}


@pytest.mark.parametrize(("line", "expected"), GOOD.values(), ids=GOOD)
def test_cells_of_a_line(line: str, expected: list[str]) -> None:
    assert cells(line) == expected


BROKEN = {
    "opened at the start": ('"a.wav,ciao', OPEN),
    "opened in a text": ('a.wav,"ciao', OPEN),
    "closed too early": ('a.wav,"ciao" disse', """is not a line of a table (',' expected after '"')"""),
    "escaped as in C": (r'a.wav,"disse \"ciao\" a me"', """is not a line of a table (',' expected after '"')"""),
    "a NUL": ("a.wav,ciao\0", "is not a line of a table (line contains NUL)"),
    "more cells": ("a.wav,ciao, bella", "has 3 cells, and the header 2"),
    "a cell of a megabyte": (
        f"a.wav,{'x' * 1_000_000}",
        "is not a line of a table (field larger than field limit (131072))",
    ),
}


@pytest.mark.parametrize(("line", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_broken_line_takes_no_other_line_along(line: str, fault: str) -> None:
    assert read(f"path,text\n{line}\nb.wav,mondo\n") == {2: fault, 3: ["b.wav", "mondo"]}


def test_a_cell_in_several_lines_is_trained_on_in_no_part() -> None:
    assert read('text,path\n"ciao\nbella",a.wav\nmondo,b.wav\n') == {
        2: OPEN,
        3: "may be the end of the cell that line 2 opens with a quotation mark",
        4: ["mondo", "b.wav"],
    }


def test_two_stray_marks_make_no_cell_of_the_rows_between() -> None:
    rows = ['a.wav,"uno', "b.wav,due", 'c.wav,"tre']
    assert read("\n".join(["path,text", *rows])) == {2: OPEN, 3: ["b.wav", "due"], 4: OPEN}


HEADERS = {
    "semicolon": ("path;text", "a.wav;ciao, bella", ".csv"),
    "bar": ("path|text", "a.wav|ciao, bella", ".csv"),
    "tab in a .csv": ("path\ttext", "a.wav\tciao, bella", ".csv"),
    "comma in a .tsv": ("path,text", 'a.wav,"ciao, bella"', ".tsv"),
    "what Excel writes first": ("sep=;\npath;text", "a.wav;ciao, bella", ".csv"),
    "empty lines before": ("\n\npath,text", 'a.wav,"ciao, bella"', ".csv"),
}


@pytest.mark.parametrize(("header", "line", "suffix"), HEADERS.values(), ids=HEADERS)
def test_the_header_tells_the_delimiter(header: str, line: str, suffix: str) -> None:
    assert list(read(f"{header}\n{line}\n", suffix).values()) == [["a.wav", "ciao, bella"]]


def test_tabs_leave_quotation_marks_as_they_are() -> None:
    assert cells('a.wav\t"ciao', "path\ttext", ".tsv") == ["a.wav", '"ciao']
    assert cells('a.wav\t"ciao" disse', "path\ttext", ".tsv") == ["a.wav", '"ciao" disse']


def test_lines_without_content_are_no_rows() -> None:
    assert read("path;text\n\n;;\n \na.wav;ciao\n;\n") == {5: ["a.wav", "ciao"]}
    assert read("") == read("path,text") == {}


def test_columns_of_one_name_are_told_apart() -> None:
    (row,) = manifest.read_table([" path ,text,text,\n", "a.wav,uno,due,tre\n"], ".csv")
    assert row.values == {"path": "a.wav", "text (cell 2)": "uno", "text (cell 3)": "due", "(cell 4)": "tre"}


def test_a_file_with_carriage_returns_alone_is_no_table() -> None:
    with pytest.raises(NoTableError, match="carriage returns alone; save it with line feeds"):
        list(manifest.read_table(["path,text\ra.wav,ciao\r"], ".csv"))


def write(volume: Path, lines: list[str], name: str = "metadata.csv", encoding: str = "utf-8") -> None:
    (volume / "clips" / name).write_text("\n".join(lines), encoding=encoding)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    tones.write_clips(tmp_path / "clips", 60)
    (tmp_path / "clips/train.jsonl").unlink()
    return tmp_path


@pytest.mark.parametrize("stray", [(40, 46), (40,), (0,), (59,)])
def test_no_row_vanishes_behind_a_stray_mark(volume: Path, stray: tuple[int, ...]) -> None:
    marks = ['"' if number in stray else "" for number in range(60)]
    write(volume, ["file_name,text", *(f"audio/train-{number:04d}.wav,{marks[number]}ciao" for number in range(60))])
    found = load(volume)
    assert len(found.train.listed) + len(found.evaluation) == 60 - len(stray)
    assert {clip.text for clip in (*found.train.listed, *found.evaluation)} == {"ciao"}
    assert dict(found.dropped) == {"broken line": len(stray)}
    assert f"metadata.csv line {stray[0] + 2} {OPEN}" in found.examples


def test_a_table_as_excel_saves_it(volume: Path) -> None:
    rows = [f"audio/train-{number:04d}.wav;Città, {number};\r" for number in range(60)]
    write(volume, ["File_Name ; TRANSCRIPTION;\r", *rows, ";;\r"], encoding="utf-8-sig")
    found = load(volume)
    assert len(found.train.listed) + len(found.evaluation) == 60
    assert min(clip.text for clip in found.evaluation).startswith("Città, ")
    assert dict(found.dropped) == {}


def test_a_text_column_that_is_there_twice_is_refused(volume: Path) -> None:
    write(volume, ["file_name,text,text", "audio/train-0000.wav,uno,due"])
    assert "its columns are file_name, text (cell 2), text (cell 3)" in refusal(volume).message
