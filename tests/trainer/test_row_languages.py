"""A column that names languages: a warning tells of rows that are not in the run's language."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import shards
import tones
from layout_checks import load
from whisper_finetune_trainer.data import data_checks
from whisper_finetune_trainer.data.layouts import row_columns

SAID: dict[str, tuple[list[object], str]] = {
    "the run's": (["it", "it-IT", "it_it", "Italian", " IT ", None, ""], ""),
    "none": ([None, ""], ""),
    "a number": ([17, 17], ""),
    "a code of another table": (["ita", "ita"], ""),
    "another": (["de", "de-AT", "german"], "column lang names german in all rows, and they are trained as italian"),
    "two": (
        ["it", "es", "it"],
        "column lang names 2 languages (it 2, es 1); all are trained as italian",
    ),
    "numbers": ([3, 4, 4], "column lang names 2 languages (4 2, 3 1); all are trained as italian"),
    "many": (
        [*"abcdefg", "a"],
        "column lang names 7 languages (a 2, b 1, c 1, d 1, e 1 and 2 more); all are trained as italian",
    ),
}


@pytest.mark.parametrize(("values", "said"), SAID.values(), ids=SAID)
def test_what_a_column_says(values: list[object], said: str) -> None:
    counts = Counter(map(row_columns.language_named_by, values))
    assert data_checks.warn_of_languages(counts, "lang", "italian") == ((said,) if said else ())


def test_the_column_has_one_of_several_names_in_any_case() -> None:
    assert row_columns.find_language_column(["path", "Locale", "text"]) == "Locale"
    assert row_columns.find_language_column(["locale", "language"]) == "language"
    assert row_columns.find_language_column(["path", "text"]) is None


WARNING = "column language names 3 languages (it 8, es 6, de 6); all are trained as italian"
LANGUAGES = ["it"] * 8 + ["es"] * 6 + ["de"] * 6


def test_rows_of_a_manifest(tmp_path: Path) -> None:
    tones.write_clips(tmp_path / "clips", 20)
    path = tmp_path / "clips/train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps({**row, "language": language}) for row, language in zip(rows, LANGUAGES, strict=True)]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert load(tmp_path).warnings == (WARNING,)


def write_parquet(folder: Path) -> None:
    folder.mkdir()
    for shard, places in enumerate((range(10), range(10, 20))):
        table = pa.table(
            {
                "audio": [{"bytes": shards.sound(number), "path": f"{number}.wav"} for number in places],
                "text": [shards.text(number) for number in places],
                "language": LANGUAGES[places.start : places.stop],
            }
        )
        parquet.write_table(table, folder / f"train-{shard}.parquet", row_group_size=5)


def test_rows_of_parquet_listed_and_as_a_stream(tmp_path: Path) -> None:
    write_parquet(tmp_path / "clips")
    assert load(tmp_path).warnings == (WARNING,)
    assert WARNING in shards.load(tmp_path, "clips", evalFraction="0.2").warnings
