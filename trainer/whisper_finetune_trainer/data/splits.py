"""The rows of a split, whatever format it has: one reader for each, and the columns that hold sound and text."""

import posixpath
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Dict, Iterator, Sequence

from whisper_finetune_trainer.data import (
    kaldi,
    line_index,
    manifest,
    nemo_tars,
    parquet_shards,
    row_languages,
    tar_shards,
)
from whisper_finetune_trainer.data.data_folder import DataFolder
from whisper_finetune_trainer.data.manifest import Columns, Row
from whisper_finetune_trainer.data.split_files import SplitFiles
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.quoting import quoted

#: Rows that are looked at for their columns: not every row of JSON lines has every key.
_LOOKED_AT = 100
#: Common Voice's folder of sound files, and a column that its tables have and few others do.
_COMMON_VOICE_FOLDER = "clips"
_COMMON_VOICE_COLUMN = "client_id"


@dataclass(frozen=True)
class Split:
    """Rows of a split and how to read them; `base` is the folder that paths in the audio column start from."""

    name: str
    folder: DataFolder
    base: str
    columns: Columns
    rows: Iterator[Row]
    #: What the rows are counted in.
    unit: str = "line"

    def language_of(self, row: Row) -> str:
        """Return the language that a row names, empty where it names none."""
        return row_languages.named(row.values.get(self.columns.language)) if self.columns.language else ""


def open_split(files: SplitFiles, audio: Sequence[str], text: Sequence[str]) -> Split:
    """Return a split; `audio` and `text` are column names to look for, best first. DatasetInvalid, also if empty."""
    if files.format == "parquet":
        names = parquet_shards.column_names(files.folder, files.paths[0])
        columns = manifest.find_columns([Row(0, dict.fromkeys(names))], audio, text, files.name)
        rows, first = parquet_shards.rows(files.folder, files.paths, columns), []
    else:
        rows = _rows(files)
        first = list(islice(rows, _LOOKED_AT))
        known = [Row(0, dict.fromkeys(kaldi.COLUMNS))] if files.format == "kaldi" else []
        columns = manifest.find_columns([*known, *first], audio, text, files.name) if first else Columns("", "")
    rows = chain(first, rows)
    place = posixpath.dirname(files.paths[0])
    if nemo_tars.are_meant(files.folder, place, first):
        rows = nemo_tars.rows(files.folder, place, rows, columns.audio)
    head = next(rows, None)
    if head is None:
        raise TrainerError("DatasetInvalid", f"{quoted(files.name)} of {files.folder.address} is empty")
    base = _base(files, first)
    return Split(_name(files), files.folder, base, columns, chain([head], rows))


def _name(files: SplitFiles) -> str:
    """Return the file whose lines messages count."""
    if files.format != "kaldi":
        return files.name
    return posixpath.basename(kaldi.list_path(files.folder, files.paths[0]))


def _rows(files: SplitFiles) -> Iterator[Row]:
    if files.format == "kaldi":
        return kaldi.rows(files.folder, files.paths[0])
    if files.format == "line index":
        return line_index.rows(files.folder, files.paths)
    if files.format == "tar":
        return tar_shards.rows(files.folder, files.paths)
    return manifest.read(files.folder.file(files.paths[0]), files.name)


def _base(files: SplitFiles, first: Sequence[Row]) -> str:
    # Kaldi's paths start where its recipe ran, which is the folder that the data set was made in.
    place = "" if files.format in {"kaldi", "line index"} else posixpath.dirname(files.paths[0])
    values: Dict[str, Any] = dict(first[0].values) if first else {}
    clips = posixpath.join(place, _COMMON_VOICE_FOLDER)
    return clips if _COMMON_VOICE_COLUMN in values and files.folder.is_folder(clips) else place
