"""Tiny data sets with the columns of the Hub's known data sets, at the paths of their Parquet files on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import data_layouts
from hub_dataset_double import Repository

CONVERSION = "refs/convert/parquet"
_NAMES = list(data_layouts.SPOKEN)


def _audio(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"bytes": data_layouts.encoded(_NAMES[place]), "path": f"{place}.flac"} for place in range(first, count)]


def _split(folder: Path, path: str, columns: dict[str, Any], texts: list[str]) -> None:
    """Write a shard; a column's value is repeated, {text} is the row's text, {audio} its sound."""
    sounds = _audio(len(texts))
    filled = {
        name: sounds if value == "{audio}" else texts if value == "{text}" else [value] * len(texts)
        for name, value in columns.items()
    }
    data_layouts.write_parquet(folder / path, filled)


OPENSLR = {"path": "caf_1.wav", "audio": "{audio}", "sentence": "{text}"}
VOXPOPULI = {
    "audio_id": "x",
    "language": 9,
    "audio": "{audio}",
    "raw_text": "",
    "normalized_text": "{text}",
    "gender": "female",
    "speaker_id": "1",
    "is_gold_transcript": True,
    "accent": "None",
}
FLEURS = {
    "id": 1,
    "num_samples": 1,
    "path": "a.wav",
    "audio": "{audio}",
    "transcription": "{text}",
    "raw_transcription": "WRONG",
    "gender": 0,
    "lang_id": 1,
    "language": "Catalan",
    "lang_group_id": 0,
}
MLS = {
    "audio": "{audio}",
    "original_path": "a",
    "begin_time": 0.0,
    "end_time": 1.0,
    "transcript": "{text}",
    "audio_duration": 1.0,
    "speaker_id": "1",
    "chapter_id": "1",
    "file": "a.flac",
    "id": "1",
}
LIBRISPEECH = {"file": "a.flac", "audio": "{audio}", "text": "{text}", "speaker_id": 1, "chapter_id": 1, "id": "1"}
GIGASPEECH = {
    "segment_id": "POD1",
    "speaker": "N/A",
    "text": "{text}",
    "audio": "{audio}",
    "begin_time": 0.0,
    "end_time": 1.0,
    "audio_id": "POD",
    "title": "t",
    "url": "u",
    "source": 1,
    "category": 1,
    "original_full_path": "p",
}
PEOPLES = {"id": "a", "audio": "{audio}", "duration_ms": 900, "text": "{text}"}
AMI = {
    "meeting_id": "EN2001a",
    "audio_id": "AMI_1",
    "text": "{text}",
    "audio": "{audio}",
    "begin_time": 0.0,
    "end_time": 1.0,
    "microphone_id": "H00",
    "speaker_id": "MEE068",
}
TEDLIUM = {"audio": "{audio}", "text": "{text}", "speaker_id": "s", "gender": 1, "file": "a", "id": "1"}

WORDS = ["one two", "three four", "five six", "seven eight", "nine ten"]
GIGA_TEXTS = ["ONE <COMMA> TWO <PERIOD>", "<SIL>", "THREE FOUR <QUESTIONMARK>", "<MUSIC>", "FIVE <EXCLAMATIONPOINT>"]
TED_TEXTS = ["it 's <unk> one", "ignore_time_segment_in_scoring", "two three", "they 'll four", "five"]


def make(root: Path) -> dict[str, Repository]:
    """Write every set below a folder and return the repositories of the Hub."""
    upper = [text.upper() for text in WORDS]
    # Repository, revision, columns, texts, and the paths that hold them all.
    written: list[tuple[str, str, dict[str, Any], list[str], list[str]]] = [
        ("openslr/openslr", CONVERSION, OPENSLR, WORDS, ["SLR69/train/0000.parquet", "SLR71/train/0000.parquet"]),
        ("openslr/openslr", CONVERSION, OPENSLR, WORDS, ["SLR72/train/0000.parquet"]),
        ("facebook/voxpopuli", CONVERSION, VOXPOPULI, WORDS, ["it/train/0000.parquet", "it/train/0001.parquet"]),
        ("facebook/voxpopuli", CONVERSION, VOXPOPULI, WORDS, ["it/test/0000.parquet", "en/partial-train/0000.parquet"]),
        ("google/fleurs", CONVERSION, FLEURS, WORDS, ["ca_es/train/0000.parquet", "ca_es/test/0000.parquet"]),
        ("facebook/multilingual_librispeech", "main", MLS, WORDS, ["italian/train-00000-of-00001.parquet"]),
        ("facebook/multilingual_librispeech", "main", MLS, WORDS, ["italian/test-00000-of-00001.parquet"]),
        ("openslr/librispeech_asr", "main", LIBRISPEECH, upper, ["clean/train.100/0000.parquet"]),
        ("openslr/librispeech_asr", "main", LIBRISPEECH, upper, ["clean/test/0000.parquet"]),
        ("speechcolab/gigaspeech", CONVERSION, GIGASPEECH, GIGA_TEXTS, ["xs/train/0000.parquet"]),
        ("MLCommons/peoples_speech", "main", PEOPLES, WORDS, ["clean/train-00000-of-00001.parquet"]),
        ("MLCommons/peoples_speech", "main", PEOPLES, WORDS, ["clean/test-00000-of-00001.parquet"]),
        (
            "edinburghcstr/ami",
            "main",
            AMI,
            upper,
            ["ihm/train-00000-of-00001.parquet", "sdm/train-00000-of-00001.parquet"],
        ),
        ("LIUM/tedlium", CONVERSION, TEDLIUM, TED_TEXTS, ["release3/train/0000.parquet"]),
        ("team/carded", "main", PEOPLES, WORDS, ["parts/a.parquet", "parts/b.parquet"]),
        ("team/carded", "v1", PEOPLES, WORDS[:4], ["parts/a.parquet"]),
    ]
    folders: dict[str, dict[str, Path]] = {}
    for name, revision, columns, texts, paths in written:
        folder = root / name / revision.replace("/", "-")
        folders.setdefault(name, {})[revision] = folder
        for path in paths:
            _split(folder, path, columns, texts)
    _only_code(root, folders)
    card = [{"config_name": "default", "data_files": [{"split": "train", "path": "parts/*.parquet"}]}]
    return {
        name: Repository(revisions, card if name == "team/carded" else None, name == "speechcolab/gigaspeech")
        for name, revisions in folders.items()
    }


def _only_code(root: Path, folders: dict[str, dict[str, Path]]) -> None:
    """Give the sets that are scripts their script: it writes a file where it is run."""
    for name in [*folders, "team/script"]:
        if "main" in folders.get(name, {}):
            continue
        main = root / name / "main"
        main.mkdir(parents=True)
        (main / f"{name.split('/')[1]}.py").write_text(f"open({str(root / 'ran')!r}, 'w')\n", encoding="utf-8")
        folders.setdefault(name, {})["main"] = main
    plain = root / "team/folder/main"
    data_layouts.audiofolder_csv(plain)
    folders["team/folder"] = {"main": plain}
