"""Data with permanent faults: each is counted, or it ends the run with a message that says what to mend."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

import data_layouts
import layout_checks
import shards
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.messages.errors import TrainerError

CLIPS = 20


def write_sounds(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(CLIPS):
        (folder / f"{number}.wav").write_bytes(shards.sound(number))


def load_with(volume: Path, row: dict[str, Any] | str) -> Clips:
    """Return the clips of a good manifest with one more row."""
    folder = volume / "clips"
    write_sounds(folder)
    (folder / "loop.wav").symlink_to("loop.wav")
    soundfile.write(folder / "one-sample.wav", [0.5], 48_000)
    rows = [json.dumps({"audio": f"{number}.wav", "text": shards.text(number)}) for number in range(CLIPS)]
    added = row if isinstance(row, str) else json.dumps(row)
    (folder / "train.jsonl").write_text("\n".join([*rows, added]), encoding="utf-8")
    return layout_checks.load(volume)


ROWS: dict[str, tuple[dict[str, Any] | str, str]] = {
    "name too long": ({"audio": "x" * 300 + ".wav", "text": "ciao"}, "missing audio file"),
    "folder too long": ({"audio": "x" * 300 + "/1.wav", "text": "ciao"}, "missing audio file"),
    "a folder's name of two lines": ({"audio": "9" * 300 + "/\n/1.wav", "text": "ciao"}, "missing audio file"),
    "file as folder": ({"audio": "1.wav/b.wav", "text": "ciao"}, "missing audio file"),
    "link to itself": ({"audio": "loop.wav", "text": "ciao"}, "missing audio file"),
    "segment of a link to itself": ({"audio": "loop.wav", "text": "ciao", "offset": 0.1}, "missing audio file"),
    "NUL in the path": ({"audio": "a\0.wav", "text": "ciao"}, "broken line"),
    "half a character in the path": ({"audio": "a\ud800.wav", "text": "ciao"}, "broken line"),
    "half a character in the text": ({"audio": "1.wav", "text": "ciao \ud800"}, "broken line"),
    "offset of 400 digits": ({"audio": "1.wav", "text": "ciao", "offset": 10**400}, "broken line"),
    "offset of 308 digits": ({"audio": "1.wav", "text": "ciao", "offset": 10**308}, "outside of its recording"),
    "less sound than a sample at 16 kHz": ({"audio": "one-sample.wav", "text": "ciao"}, "unreadable audio"),
    "two texts of one name": ('{"audio": "1.wav", "text": "ciao", "text": "addio"}', "broken line"),
    "a number for a text": ({"audio": "1.wav", "text": 5}, "broken line"),
    "a text of 2,001 characters": ({"audio": "1.wav", "text": "a" * 2_001}, "text too long"),
    "a text of a million brackets": ({"audio": "1.wav", "text": "(" * 1_000_000}, "text too long"),
    "a text of special tokens alone": ({"audio": "1.wav", "text": "<|0.00|><|endoftext|>"}, "empty text"),
    "JSON without an end to its depth": ('{"a":' * 100_000, "broken line"),
}


@pytest.mark.parametrize("case", ROWS.values(), ids=ROWS.keys())
def test_a_row_that_names_no_clip_is_counted(tmp_path: Path, case: tuple[dict[str, Any] | str, str]) -> None:
    row, reason = case
    found = load_with(tmp_path, row)
    assert dict(found.dropped) == {reason: 1}
    assert len(found.train.listed) + len(found.evaluation) == CLIPS


def test_a_table_whose_paths_are_too_long_is_read_all_the_same(tmp_path: Path) -> None:
    write_sounds(tmp_path / "clips")
    lines = [
        "path,sentence",
        *(f"{number}.wav,{shards.text(number)}" for number in range(CLIPS)),
        "9" * 300 + "/a.wav,ciao",
    ]
    (tmp_path / "clips/train.csv").write_text("\n".join(lines), encoding="utf-8")
    assert dict(layout_checks.load(tmp_path).dropped) == {"missing audio file": 1}


def test_a_source_whose_name_is_too_long_is_not_there(tmp_path: Path) -> None:
    assert layout_checks.refusal(tmp_path, "pvc://speech/" + "x" * 300).reason == "DatasetNotFound"


def refused(volume: Path) -> str:
    error = layout_checks.refusal(volume)
    assert error.reason == "DatasetInvalid"
    return error.message


@pytest.mark.parametrize("listed", ["train/text", "train/wav.scp", "train/segments"])
def test_kaldi_lists_in_latin_1_are_refused(tmp_path: Path, listed: str) -> None:
    folder = tmp_path / "clips"
    write_sounds(folder)
    (folder / "train").mkdir()
    (folder / "train/wav.scp").write_text("r0 0.wav\nr1 1.wav\n", encoding="utf-8")
    (folder / "train/segments").write_text("u0 r0 0 0.5\nu1 r1 0 0.5\n", encoding="utf-8")
    (folder / "train/text").write_text("u0 ciao\nu1 ciao\n", encoding="utf-8")
    (folder / listed).write_bytes("u0 perché\n".encode("latin-1"))
    assert f"{listed} is not UTF-8" in refused(tmp_path)


def test_a_line_index_in_latin_1_is_refused(tmp_path: Path) -> None:
    write_sounds(tmp_path / "clips")
    (tmp_path / "clips/line_index.tsv").write_bytes("1\tperché\n".encode("latin-1"))
    assert "line_index.tsv is not UTF-8" in refused(tmp_path)


def write_shard(path: Path, audio: list[Any], audio_column: str = "audio") -> None:
    path.parent.mkdir(exist_ok=True)
    table = pa.table({audio_column: audio, "text": [shards.text(number) for number in range(len(audio))]})
    parquet.write_table(table, path, row_group_size=10)


def embedded() -> list[Any]:
    return [{"bytes": shards.sound(number), "path": f"{number}.wav"} for number in range(CLIPS)]


def test_a_shard_without_the_audio_column_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "clips/train-0.parquet", embedded())
    write_shard(tmp_path / "clips/train-1.parquet", embedded(), audio_column="sound")
    assert "train-1.parquet has no column audio; its columns are sound, text" in refused(tmp_path)


@pytest.mark.parametrize("twice", ["audio", "text"])
def test_a_shard_with_two_columns_of_one_name_is_refused(tmp_path: Path, twice: str) -> None:
    columns = {"audio": embedded(), "text": ["ciao"] * CLIPS}
    names = [*columns, twice]
    (tmp_path / "clips").mkdir()
    table = pa.Table.from_arrays([pa.array(columns[name]) for name in names], names)
    parquet.write_table(table, tmp_path / "clips/train.parquet")
    assert f"train.parquet has 2 columns {twice}: rename all but one" in refused(tmp_path)


def test_a_shard_of_decoded_arrays_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "clips/train.parquet", [{"array": [0.1] * 10, "sampling_rate": 16_000}] * CLIPS)
    assert "column audio of train.parquet holds array and sampling_rate, and no bytes" in refused(tmp_path)


def test_sounds_need_no_path_beside_them(tmp_path: Path) -> None:
    write_shard(tmp_path / "clips/train.parquet", [{"bytes": shards.sound(number)} for number in range(CLIPS)])
    assert dict(layout_checks.load(tmp_path).dropped) == {}


@pytest.mark.parametrize("column", [0, 1, 2], ids=["sound", "path", "text"])
def test_a_listed_shard_with_a_broken_page_is_refused(tmp_path: Path, column: int) -> None:
    path = tmp_path / "clips/train.parquet"
    write_shard(path, embedded())
    chunk = parquet.ParquetFile(path).metadata.row_group(1).column(column)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset : chunk.data_page_offset + 20] = b"\xff" * 20
    path.write_bytes(content)
    assert "train.parquet is not a whole Parquet file" in refused(tmp_path)


def test_a_null_sound_of_a_stream_is_one_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Stands for a row group of more than 512 MB, which a stream reads by its pages.
    monkeypatch.setattr("whisper_finetune_trainer.data.audio.parquet_cells._LARGEST_GROUP_BYTES", 100_000)
    rows = embedded()
    rows[7]["bytes"] = None
    write_shard(tmp_path / "clips/train.parquet", rows)
    stream = shards.stream_of(shards.load(tmp_path, "clips", evalFraction="0.2"))
    dropped = sum((Counter(block.statistics.dropped) for block in shards.epoch(stream)), Counter())
    assert dropped == {"unreadable audio": 1}


def test_a_shard_of_a_stream_without_the_audio_column_is_a_broken_one(tmp_path: Path) -> None:
    write_shard(tmp_path / "clips/train-0.parquet", embedded())
    write_shard(tmp_path / "clips/train-1.parquet", embedded(), audio_column="sound")
    with pytest.raises(TrainerError, match=r"train-1.parquet has no column audio"):
        shards.load(tmp_path, "clips", evalFraction="0.2", maxDroppedFraction="0.01")


def test_a_number_that_is_none_is_named_by_its_start(tmp_path: Path) -> None:
    found = load_with(tmp_path, {"audio": "1.wav", "text": "ciao", "offset": 10**400})
    assert found.examples == (f"train.jsonl line {CLIPS + 1} is not a segment: 1{'0' * 39} is not a number of seconds",)


def test_a_list_of_broken_lines_alone_says_what_is_wrong_with_them(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/train.jsonl").write_text("a.wav ciao\nb.wav addio\n", encoding="utf-8")
    assert "train.jsonl has only broken lines, such as line 1 is not JSON (Expecting value" in refused(tmp_path)


@pytest.mark.parametrize("indented", [{"data": [{"audio": "a.wav", "text": "ciao"}]}, {"audio": "a.wav", "text": "x"}])
def test_json_that_is_neither_lines_nor_an_array_is_told_what_is_read(tmp_path: Path, indented: Any) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/train.json").write_text(json.dumps(indented, indent=1), encoding="utf-8")
    assert refused(tmp_path).endswith("; each line must be an object, or the file one array of objects")


@pytest.mark.parametrize("name", ["train.jsonl", "train.json", "train.csv", "train-0.tar", "train-0.parquet"])
def test_what_git_left_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / name).write_text(shards.GIT_LFS_POINTER, encoding="utf-8")
    assert refused(tmp_path) == f"{name} is a pointer of Git LFS, not the file: run `git lfs pull`"


def test_a_table_of_broken_lines_alone_counts_them(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/train.csv").write_text('path,text\na.wav,"ciao\n', encoding="utf-8")
    assert "1 of 1 clips cannot be used" in refused(tmp_path)
    assert "(broken line 1). First: train.csv line 2 opens a quotation mark and does not close it" in refused(tmp_path)


def write_kaldi(volume: Path, texts: str, sounds: str) -> None:
    write_sounds(volume / "clips")
    (volume / "clips/train").mkdir()
    (volume / "clips/train/wav.scp").write_text(sounds, encoding="utf-8")
    (volume / "clips/train/text").write_text(texts, encoding="utf-8")


def test_a_line_of_kaldis_that_is_there_twice_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = [f"u{number} ciao {number}" for number in range(CLIPS)]
    sounds = [f"u{number} {number}.wav" for number in range(CLIPS)]
    write_kaldi(tmp_path, "\n".join([*texts, "u3 addio", "u4 ciao 4", "v uno"]), "\n".join([*sounds, "u5 6.wav"]))
    found = layout_checks.load(tmp_path)
    assert dict(found.dropped) == {"broken line": 2}
    assert found.examples == (
        "wav.scp line 4 utterance u3 has no text, or two lines with different ones",
        "wav.scp line 21 utterance u5 has no line in text, or had a line before",
    )
    assert len({clip.identifier for clip in (*found.train.listed, *found.evaluation)}) == CLIPS - 1
    assert "1 lines of text name no utterance of train/wav.scp, such as v" in caplog.text


def test_a_clip_of_a_shard_has_one_sound(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    members = shards.tar_members(range(CLIPS))
    odd = [("a.1.wav", shards.sound(0)), ("a.2.wav", shards.sound(1)), ("a.txt", b"uno"), ("b.txt", b"due")]
    nested = [("c.wav", shards.sound(0)), ("c.json", b'{"a":' * 100_000)]
    data_layouts.write_tar(tmp_path / "clips/train-0.tar", [*members, *odd, *nested])
    found = layout_checks.load(tmp_path, maxDroppedFraction="0.2")
    assert dict(found.dropped) == {"broken line": 3}
    assert "a of train-0.tar has 2 sounds (a.1.wav, a.2.wav): what is before the first dot" in found.examples[0]
    assert "b of train-0.tar has no sound beside b.txt: the files of a clip follow each other" in found.examples[1]
    assert "c of train-0.tar has a text that cannot be read" in found.examples[2]


def test_what_macos_and_editors_hide_in_a_shard_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    members = [(f"./{name}", content) for name, content in shards.tar_members(range(CLIPS))]
    hidden = [(f"./._{name[2:]}", b"\0\5\x16\7") for name, _ in members]
    mixed = [each for pair in zip(hidden, members, strict=True) for each in pair]
    data_layouts.write_tar(tmp_path / "clips/train-0.tar", [("./.DS_Store", b"x"), *mixed])
    found = layout_checks.load(tmp_path)
    assert dict(found.dropped) == {}
    assert len(found.train.listed) + len(found.evaluation) == CLIPS
