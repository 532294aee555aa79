"""Data folders as people have them: what is read, and what the message says where it is not."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest

import tones
from layout_checks import load, refusal

LIST = 'write a train.jsonl with a line {"audio": PATH, "text": TEXT} for each clip'
SEGMENTS = '{"audio": PATH, "offset": SECONDS, "duration": SECONDS, "text": TEXT} each'


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Return a volume with twenty sounds in clips/audio, and no list of them."""
    tones.write_clips(tmp_path / "clips", 20)
    (tmp_path / "clips/train.jsonl").unlink()
    return tmp_path


def add(volume: Path, *names: str) -> None:
    for name in names:
        path = volume / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


SHAPES = {
    "LibriSpeech": ("LibriSpeech/dev-clean/84/121123/84-121123.trans.txt", "LibriSpeech's layout (*.trans.txt)", LIST),
    "MLS": ("train/transcripts.txt", "the layout of Multilingual LibriSpeech (transcripts.txt)", LIST),
    "AISHELL": ("transcript/aishell_transcript_v0.8.txt", "AISHELL's layout", LIST),
    "TED-LIUM": ("data/train/stm/talk.stm", "TED-LIUM's layout (*.stm)", SEGMENTS),
    "subtitles": ("talk.SRT", "subtitles", SEGMENTS),
    "lhotse": ("manifests/train_cuts.jsonl.gz", "lhotse's manifests", "lhotse kaldi export"),
    "compressed": ("train.jsonl.gz", "compressed", "unpack it first"),
    "save_to_disk": ("train/data-00000-of-00001.arrow", "a data set of save_to_disk", 'to_parquet("train.parquet")'),
    "text beside sound": ("audio/train-0000.txt", "a .txt beside each sound", LIST),
    "label beside sound": ("audio/train-0000.lab", "a .lab beside each sound", LIST),
    "spreadsheet": ("metadata.XLSX", "a spreadsheet", "save it as train.csv"),
}


@pytest.mark.parametrize(("name", "shape", "advice"), SHAPES.values(), ids=SHAPES)
def test_a_known_shape_is_named_with_what_to_do(volume: Path, name: str, shape: str, advice: str) -> None:
    add(volume, name)
    error = refusal(volume)
    assert error.reason == "DatasetNotFound"
    assert shape in error.message
    assert advice in error.message
    assert error.message.endswith("docs/data.md has all layouts")


def test_lists_in_several_folders(volume: Path) -> None:
    add(volume, "anna/metadata.csv", "carlo/metadata.csv")
    said = "has the splits anna, carlo; if these are parts of one split, put their lines into one train.jsonl"
    assert refusal(volume).message.endswith(said)


def test_an_unknown_folder_says_what_it_holds_and_what_is_read(volume: Path) -> None:
    add(volume, "talk.json", "notes.csv")
    assert refusal(volume).message == (
        "split train: pvc://speech/clips holds audio, notes.csv, talk.json: no supported layout is in it, "
        "such as train.jsonl, train.csv, train/metadata.csv, train/wav.scp, train-*.tar or train-*.parquet; "
        "if notes.csv is a list of clips, let dataset.source name it; docs/data.md has all layouts"
    )


def rows(volume: Path) -> list[dict[str, Any]]:
    return [{"audio": f"audio/train-{number:04d}.wav", "text": "ciao"} for number in range(20)]


def write(volume: Path, name: str, found: list[dict[str, Any]]) -> None:
    (volume / "clips" / name).write_text("\n".join(map(json.dumps, found)), encoding="utf-8")


@pytest.mark.parametrize("name", ["metadata.jsonl", "manifest.json", "talk.json", "metadata.csv", "notes.tsv"])
def test_a_list_by_any_name_is_no_split(volume: Path, name: str) -> None:
    add(volume, name)
    write(volume, "validated-it.jsonl", rows(volume))
    write(volume, "train.jsonl", rows(volume))
    assert "pvc://speech/clips has the splits train, validated-it" in refusal(volume, evalSplit="dev").message


def test_label_studios_json(volume: Path) -> None:
    (volume / "clips/train.json").write_text('[{"id": 1, "data": {}, "annotations": []}]', encoding="utf-8")
    assert "it looks like Label Studio's JSON, which is not supported as it is" in refusal(volume).message


def test_ljspeech(volume: Path) -> None:
    shutil.move(volume / "clips/audio", volume / "clips/wavs")
    lines = [f"train-{number:04d}|Ciao, {number}|ciao" for number in range(20)]
    (volume / "clips/metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    message = refusal(volume).message
    assert "it looks like LJSpeech's layout (ID|TEXT|TEXT beside wavs/), whose list has no header" in message
    assert LIST in message


def test_a_compressed_list_by_its_name(volume: Path) -> None:
    add(volume, "train.jsonl.gz")
    assert "it is compressed: unpack it first" in refusal(volume, "pvc://speech/clips/train.jsonl.gz").message


def split_by_folders(volume: Path, name: str = "eval") -> None:
    """Move five sounds into audio/NAME and the others into audio/train, with one list of all at the top."""
    found = rows(volume)
    for number, row in enumerate(found):
        place = f"audio/{name if number % 4 == 0 else 'train'}/{number}.wav"
        (volume / "clips" / place).parent.mkdir(exist_ok=True)
        (volume / "clips" / row["audio"]).rename(volume / "clips" / place)
        row["audio"] = place
    write(volume, "metadata.jsonl", found)


@pytest.mark.parametrize("name", ["eval", "anna"])
def test_folders_tell_the_splits_of_one_list(volume: Path, name: str) -> None:
    split_by_folders(volume, name)
    found = load(volume, evalSplit=name)
    assert {clip.identifier.split("/")[1] for clip in found.train.listed} == {"train"}
    assert {clip.identifier.split("/")[1] for clip in found.evaluation} == {name}
    assert (len(found.train.listed), len(found.evaluation)) == (15, 5)


def test_a_held_out_folder_is_not_trained_on_without_an_eval_split(
    volume: Path, caplog: pytest.LogCaptureFixture
) -> None:
    split_by_folders(volume)
    found = load(volume)
    assert len(found.train.listed) + len(found.evaluation) == 15
    assert "metadata.jsonl: 5 rows are in folders of other splits, and are not trained on" in caplog.text


def test_folders_by_other_names_are_all_trained_on(volume: Path) -> None:
    split_by_folders(volume, "anna")
    found = load(volume)
    assert len(found.train.listed) + len(found.evaluation) == 20


def test_a_split_in_no_folder_is_not_found(volume: Path) -> None:
    write(volume, "metadata.jsonl", rows(volume))
    error = refusal(volume, evalSplit="eval")
    assert error.reason == "DatasetNotFound"
    assert error.message.startswith("split eval: pvc://speech/clips holds audio, metadata.jsonl")


PATHS: dict[str, tuple[Any, str]] = {
    "of Windows": ("audio\\train-0000.wav", ""),
    "in an object": ({"path": "audio/train-0000.wav", "start": 0}, ""),
    "a drive": ("C:\\Users\\anna\\a.wav", "path outside of the source"),
    "a share": ("\\\\server\\a.wav", "path outside of the source"),
    "another machine's": ("/home/anna/speech/a.wav", "path outside of the source"),
    "outside": ("../a.wav", "path outside of the source"),
    "outside only by its name": ("audio/outside.wav", "missing audio file"),
    "no file behind the backslash": ("audio\\outside.wav", "missing audio file"),
    "half a character": ("audio/outside\ud800.wav", "broken line"),
    "an empty object": ({"path": " "}, "broken line"),
    "a folder": ("audio", "unreadable audio"),
}


@pytest.mark.parametrize(("path", "reason"), PATHS.values(), ids=PATHS)
def test_paths(volume: Path, path: Any, reason: str) -> None:
    write(volume, "train.jsonl", [{"audio": path, "text": "uno"}, *rows(volume)[1:]])
    found = load(volume)
    assert dict(found.dropped) == ({reason: 1} if reason else {})
    names = {clip.identifier for clip in (*found.train.listed, *found.evaluation)}
    assert ("audio/train-0000.wav" in names) == (not reason)
    if reason == "path outside of the source":
        assert "is outside of the data set's folder; make it relative to train.jsonl" in found.examples[0]


def test_a_name_with_a_backslash_stays(volume: Path) -> None:
    (volume / "clips/audio/train-0000.wav").rename(volume / "clips/audio\\a.wav")
    write(volume, "train.jsonl", [{"audio": "audio\\a.wav", "text": "uno"}, *rows(volume)[1:]])
    assert dict(load(volume).dropped) == {}


@pytest.mark.parametrize(("listed", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
@pytest.mark.parametrize("path", ["però.wav", "audio/però.wav", "audio\\però.wav"])
def test_a_name_is_found_whichever_way_its_accents_are_written(
    volume: Path, listed: Literal["NFC", "NFD"], on_disk: Literal["NFC", "NFD"], path: str
) -> None:
    there = volume / "clips" / unicodedata.normalize(on_disk, path.replace("\\", "/"))
    (volume / "clips/audio/train-0000.wav").rename(there)
    write(volume, "train.jsonl", [{"audio": unicodedata.normalize(listed, path), "text": "uno"}, *rows(volume)[1:]])
    assert dict(load(volume).dropped) == {}
