"""The rows of a split, opened: what they are called, which columns they have, and where their paths start from."""

import logging
from dataclasses import dataclass
from itertools import chain
from typing import Iterator

from whisper_finetune_trainer.data.files.data_folder import DataFolder
from whisper_finetune_trainer.data.layouts import row_columns, split_files
from whisper_finetune_trainer.data.layouts.layout import SplitFiles, SplitFolders
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Columns, Row
from whisper_finetune_trainer.data.text import row_languages
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Rows of a split and how to read them. `base` is the folder that paths in the audio column start from."""

    name: str
    folder: DataFolder
    base: str
    columns: Columns
    rows: Iterator[Row]
    #: What the rows are counted in.
    unit: str = "line"

    def language_of(self, row: Row) -> str:
        """Return the language that a row names, empty where it names none."""
        return row_languages.language_named_by(row.values.get(self.columns.language)) if self.columns.language else ""


def open_split(files: SplitFiles, names: ColumnNames) -> Split:
    """Return a split, its columns found by their names.

    DatasetInvalid, also if it is empty. DatasetNotFound where no row of a list lies in its folder.
    """
    columns, rows = files.layout.open_rows(files, names)
    if files.folders is not None:
        rows = _rows_in(files.folders, rows, columns, files.name)
    first = next(rows, None)
    if first is None:
        raise _no_rows(files)
    base = files.layout.base_folder(files, first)
    return Split(files.layout.list_name(files), files.folder, base, columns, chain([first], rows))


def _no_rows(files: SplitFiles) -> TrainerError:
    if files.folders is not None and files.folders.only is not None:
        return split_files.missing_split(files.folder, files.folders.only)
    return TrainerError("DatasetInvalid", f"{quoted(files.name)} of {files.folder.address} is empty")


def _rows_in(folders: SplitFolders, rows: Iterator[Row], columns: Columns, name: str) -> Iterator[Row]:
    """Yield the rows of a list whose sounds lie in the folders of a split. All that is broken is of the train split."""
    others = 0
    for row in rows:
        if folders.hold(row_columns.path_of(row.values.get(columns.audio)) or ""):
            yield row
        else:
            others += 1
    if others and folders.only is None:
        logger.warning("%s: %d rows lie in folders of other splits, and are not trained on", quoted(name), others)
