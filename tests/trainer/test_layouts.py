"""Layouts are objects in one tuple. Another one costs a module, its line, its fixture and its row in the docs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import clip_loading
import data_layouts
import layout_checks
import shards
import tiny_whisper
from data_layouts import SPOKEN
from repository import ROOT
from trainer_attempts import Volume
from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, InMemory, NamedAudio
from whisper_finetune_trainer.data.layouts import layout, split_files
from whisper_finetune_trainer.data.layouts.layout import Layout, OpenedRows, ShardReader, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Columns, Row
from whisper_finetune_trainer.data.source_files import DataFolder

TRAINER = ROOT / "trainer/whisper_finetune_trainer"
#: What the layouts were called, when they were told apart by their names.
WORDS = {"manifest", "kaldi", "line index", "tar", "parquet"}
OBJECTS = {"LINE_INDEX", "MANIFEST", "KALDI", "TAR", "PARQUET"}


def parallel_rows(folder: DataFolder, path: str) -> Iterator[Row]:
    """Yield the clips of NAME.sounds and NAME.texts, which have a path and a text in each line."""
    with source_files.open_text(folder.file(path)) as sounds, source_files.open_text(_texts(folder, path)) as texts:
        for number, (sound, text) in enumerate(zip(sounds, texts, strict=True), start=1):
            yield Row(number, {"audio": sound.strip(), "text": text.strip()})


def _texts(folder: DataFolder, path: str) -> str:
    return folder.file(path.replace(".sounds", ".texts"))


def open_rows(files: SplitFiles, names: ColumnNames) -> OpenedRows:
    rows = (row for path in files.paths for row in parallel_rows(files.folder, path))
    return layout.with_columns(files, rows, names)


def rows_with_sound(folder: DataFolder, path: str, columns: Columns, start: int) -> Iterator[tuple[Row, int]]:
    for row in parallel_rows(folder, path):
        if row.number > start:
            name = row.values[columns.audio]
            content = source_files.read_bytes(folder.file(name))
            held = InMemory(content, ByteRange(folder.file(name), 0, len(content), name))
            yield Row(row.number, {**row.values, columns.audio: NamedAudio(held, name)}), row.number


#: Files of sounds and of texts side by side, as translation's corpora have them.
PARALLEL = Layout(
    endings=(".sounds",),
    is_file=lambda name: name.endswith(".sounds"),
    open_rows=open_rows,
    examples=("{split}.sounds",),
    find_named=lambda folder, split: tuple(filter(folder.is_file, [f"{split}.sounds"])),
    shards=ShardReader("line", rows_with_sound, lambda _files, _columns: True),
)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_files, "LAYOUTS", (*split_files.LAYOUTS, PARALLEL))


def write_parallel(folder: Path, split: str, spoken: dict[str, str]) -> None:
    data_layouts.write_sounds(folder / "audio")
    (folder / f"{split}.sounds").write_text("".join(f"audio/{name}.flac\n" for name in spoken), encoding="utf-8")
    (folder / f"{split}.texts").write_text("".join(f"{text}\n" for text in spoken.values()), encoding="utf-8")


@pytest.mark.usefixtures("registered")
def test_another_layout_is_found_and_listed(tmp_path: Path) -> None:
    write_parallel(tmp_path / "clips", "train", SPOKEN)
    layout_checks.check(layout_checks.load(tmp_path))
    layout_checks.check(layout_checks.load(tmp_path, "pvc://speech/clips/train.sounds"))


@pytest.mark.usefixtures("registered")
def test_another_layout_is_in_every_message(tmp_path: Path) -> None:
    write_parallel(tmp_path / "clips", "train", SPOKEN)
    assert "has the splits train" in layout_checks.refusal(tmp_path, evalSplit="test").message
    (tmp_path / "empty").mkdir()
    assert "or train.sounds" in layout_checks.refusal(tmp_path, "pvc://speech/empty").message
    said = layout_checks.refusal(tmp_path, "pvc://speech/clips/train.texts").message
    assert ".parquet, .sounds is expected" in said


@pytest.mark.usefixtures("registered")
def test_another_layout_is_read_as_a_stream(tmp_path: Path) -> None:
    write_parallel(tmp_path / "clips", "train", SPOKEN)
    write_parallel(tmp_path / "clips", "test", dict(list(SPOKEN.items())[:2]))
    stream = shards.stream_of(shards.load(tmp_path, "clips", evalSplit="test"))
    assert sorted(clip.text for block in shards.epoch(stream) for clip in block.clips) == sorted(SPOKEN.values())


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
def test_a_run_is_trained_on_another_layout(tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model")
    write_parallel(tmp_path / "clips", "train", SPOKEN)
    volume = Volume(tmp_path, tmp_path / "runs")
    volume.folder.mkdir()
    ended = volume.attempt(volume.config(steps=2))
    assert (ended.exit_code, ended.result.reason) == (0, None), ended.result.message


def test_every_layout_has_a_fixture(tmp_path: Path) -> None:
    found = set()
    for number, write in enumerate(data_layouts.LAYOUTS.values()):
        write(tmp_path / str(number))
        source = clip_loading.open_source(layout_checks.config(tmp_path, f"pvc://speech/{number}"))
        found.add(id(source.find("train", is_train=True).layout))
    assert found == set(map(id, split_files.LAYOUTS))


def test_every_layout_has_its_row_in_the_docs() -> None:
    page = (ROOT / "docs/generate/data.template.md").read_text(encoding="utf-8")
    rows = page.split("| layout | files | text |", 1)[1].split("\n\n", 1)[0].splitlines()
    for each in split_files.LAYOUTS:
        for name in (*(example.format(split="NAME") for example in each.examples), *each.endings):
            assert any(f"{name}`" in row for row in rows), f"docs/generate/data.template.md: no layout has {name}"


def comparisons(source: str) -> list[str]:
    """Return the comparisons with the name of a layout, or with its object."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Compare)]
    return [ast.unparse(node) for node in nodes if any(map(_is_layout, ast.walk(node)))]


def _is_layout(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return node.value in WORDS
    return isinstance(node, ast.Name) and node.id in OBJECTS


def test_a_comparison_with_a_layout_is_seen() -> None:
    source = 'a = files.format == "kaldi"\nb = files.format in {"tar", "parquet"}\nc = layout is PARQUET\n'
    assert len(comparisons(source)) == 3


def test_nothing_asks_which_layout_it_has() -> None:
    found = {
        str(path.relative_to(ROOT)): comparisons(path.read_text(encoding="utf-8")) for path in TRAINER.rglob("*.py")
    }
    assert {name: said for name, said in found.items() if said} == {}


UNNAMED = {
    "numbers": (data_layouts.webdataset_json, "holds 000.tar: 000.tar names no split, so all of it is the train split"),
    "line indexes": (data_layouts.openslr, "line_index_female.tsv and 1 more names no split, so all of it is"),
    "a list of all": (data_layouts.audiofolder_jsonl, "metadata.jsonl lists no clip in a folder test"),
}


@pytest.mark.parametrize(("write", "said"), UNNAMED.values(), ids=UNNAMED)
def test_a_data_set_without_names_of_splits_has_no_other_split(tmp_path: Path, write: object, said: str) -> None:
    assert callable(write)
    write(tmp_path / "clips")
    error = layout_checks.refusal(tmp_path, evalSplit="test")
    assert (error.reason, said in error.message) == ("DatasetNotFound", True), error.message
