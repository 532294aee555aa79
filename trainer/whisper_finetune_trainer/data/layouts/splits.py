"""The rows of a split, whatever format it has: one reader for each, and the columns that hold sound and text."""

import logging
import posixpath
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Dict, Iterator, Sequence

from whisper_finetune_trainer.data.files.data_folder import DataFolder
from whisper_finetune_trainer.data.layouts import (
    folder_shapes,
    kaldi,
    line_index,
    manifest,
    nemo_tars,
    parquet_shards,
    split_files,
    tar_shards,
)
from whisper_finetune_trainer.data.layouts.manifest import Columns, MissingColumnError, Row
from whisper_finetune_trainer.data.layouts.split_files import SplitFiles, SplitFolders
from whisper_finetune_trainer.data.text import row_languages
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted

#: Rows that are looked at for their columns: not every row of JSON lines has every key.
_LOOKED_AT = 100
_OF_JSON = "; what is read is an object in each line, or one array of them"
#: Common Voice's folder of sound files, and a column that its tables have and few others do.
_COMMON_VOICE_FOLDER = "clips"
_COMMON_VOICE_COLUMN = "client_id"
logger = logging.getLogger(__name__)


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
    """Return a split; `audio` and `text` are column names to look for, best first.

    DatasetInvalid, also if it is empty; DatasetNotFound where no row of a list lies in its folder.
    """
    if files.format == "parquet":
        names = parquet_shards.column_names(files.folder, files.paths[0])
        columns = _columns(files, [Row(0, dict.fromkeys(names))], audio, text)
        rows, first = parquet_shards.rows(files.folder, files.paths, columns), []
    else:
        rows = _rows(files)
        first = list(islice(rows, _LOOKED_AT))
        known = [Row(0, dict.fromkeys(kaldi.COLUMNS))] if files.format == "kaldi" else []
        columns = _columns(files, [*known, *first], audio, text) if first else Columns("", "")
    rows = chain(first, rows)
    place = posixpath.dirname(files.paths[0])
    if nemo_tars.are_meant(files.folder, place, first):
        rows = nemo_tars.rows(files.folder, place, rows, columns.audio)
    if files.folders is not None:
        rows = _rows_in(files.folders, rows, columns, files.name)
    head = next(rows, None)
    if head is None:
        raise _no_rows(files)
    base = _base(files, first)
    return Split(_name(files), files.folder, base, columns, chain([head], rows))


def _columns(files: SplitFiles, rows: Sequence[Row], audio: Sequence[str], text: Sequence[str]) -> Columns:
    try:
        return manifest.find_columns(rows, audio, text, files.name)
    except MissingColumnError as error:
        if rows and all(row.broken for row in rows):
            advice = _OF_JSON if files.name.endswith((".json", ".jsonl")) else ""
            faults = f"line {rows[0].number} {rows[0].broken}{advice}"
            raise TrainerError(
                error.reason, f"{quoted(files.name)} has broken lines alone, such as {faults}"
            ) from error
        shape = folder_shapes.of_columns(error.columns, files.folder)
        raise TrainerError(error.reason, f"{error.message}{f'; {shape}' if shape else ''}") from error


def _no_rows(files: SplitFiles) -> TrainerError:
    if files.folders is not None and files.folders.only is not None:
        return split_files.missing(files.folder, files.folders.only)
    return TrainerError("DatasetInvalid", f"{quoted(files.name)} of {files.folder.address} is empty")


def _rows_in(folders: SplitFolders, rows: Iterator[Row], columns: Columns, name: str) -> Iterator[Row]:
    """Yield the rows of a list whose sounds lie in the folders of a split; all that is broken is of the train split."""
    others = 0
    for row in rows:
        if folders.hold(manifest.path_of(row.values.get(columns.audio)) or ""):
            yield row
        else:
            others += 1
    if others and folders.only is None:
        logger.warning("%s: %d rows lie in folders of other splits, and are not trained on", quoted(name), others)


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
