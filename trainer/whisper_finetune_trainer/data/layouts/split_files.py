"""Find the files of a split by the first layout that has any, and open their rows."""

import logging
from dataclasses import dataclass
from itertools import chain
from typing import Collection, Iterable, Iterator, Optional, Tuple

from whisper_finetune_trainer.data.layouts import folder_shapes, row_columns
from whisper_finetune_trainer.data.layouts.kaldi import KALDI
from whisper_finetune_trainer.data.layouts.layout import (
    HELD_OUT_NAMES,
    Layout,
    SplitFiles,
    SplitFolders,
    begins_with_usual_name,
)
from whisper_finetune_trainer.data.layouts.line_index import LINE_INDEX
from whisper_finetune_trainer.data.layouts.manifest import MANIFEST
from whisper_finetune_trainer.data.layouts.parquet_shards import PARQUET
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Columns, Row
from whisper_finetune_trainer.data.layouts.tar_shards import TAR
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.messages.errors import TrainerError, listed, quoted

#: In order of precedence. Another layout needs a module of its own, a line here, a fixture in the tests, and a row in
#: docs/generate/data.template.md.
LAYOUTS: Tuple[Layout, ...] = (LINE_INDEX, MANIFEST, KALDI, TAR, PARQUET)
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tgz")


def find_split_files(folder: DataFolder, split: str, *, is_train: bool, others: Collection[str] = ()) -> SplitFiles:
    """Return the files of a split. Raises DatasetNotFound, which says what the folder has instead.

    A folder may have one list of all clips, with their sounds in a folder per split. Then the held-out split has the
    rows whose sounds are in its folder, and the train split has all rows whose sounds are in no other split's folder.
    The train split may also be files whose names name no split. `others` are splits that are not trained on.
    """
    found = _find_named(folder, split)
    if found is None and is_train:
        held_out = HELD_OUT_NAMES.union(others) - {split}
        found = _find_list_of_all(folder, SplitFolders(only=None, others=held_out)) or _find_unnamed(folder)
    if found is None and not is_train:
        found = _find_list_of_all(folder, SplitFolders(only=split))
    if found is None:
        raise missing_split(folder, split)
    return found


def files_of_one(folder: DataFolder, name: str, split: str, *, is_train: bool) -> SplitFiles:
    """Return the split of a source that is one file. All of it is the train split.

    Raises DatasetNotFound for another split, and DatasetInvalid for a file of an unknown kind.
    """
    address = f"{folder.address}/{name}"
    if not is_train:
        raise TrainerError(
            "DatasetNotFound",
            f"dataset.evalSplit {split}: {address} is one manifest and all of it is the train split; "
            "let dataset.source name the folder that holds both splits",
        )
    found = next((layout for layout in LAYOUTS if layout.is_file(name)), None)
    if found is None:
        known = ", ".join(ending for layout in LAYOUTS for ending in layout.endings)
        advice = "; it is compressed: unpack it first" if name.endswith(_COMPRESSED) else ""
        raise TrainerError("DatasetInvalid", f"{quoted(name)} is not a manifest; one of {known} is expected{advice}")
    return SplitFiles(folder, found, (name,))


def list_splits(folder: DataFolder) -> Tuple[str, ...]:
    """Return the splits of a folder, by the names in it."""
    names = (*folder.names(), *folder.names("data"))
    return tuple(sorted({split for layout in LAYOUTS for split in _splits_of_layout(layout, folder, names)}))


def missing_split(folder: DataFolder, split: str) -> TrainerError:
    """Return the error for a folder without a split. It says which splits it has, what it looks like, what is in it."""
    splits = list_splits(folder)
    if splits:
        are_parts = len(splits) > 1 and not any(map(begins_with_usual_name, splits))
        advice = "; if these are parts of one split, put their lines into one train.jsonl" if are_parts else ""
        said = f"split {split}: {folder.address} has the splits {listed(splits)}{advice}"
        return TrainerError("DatasetNotFound", said)
    held = listed(folder.names()) if folder.names() else "nothing"
    said = _without_name(folder, split) or folder_shapes.shape_of_folder(folder) or _no_layout(folder, split)
    return TrainerError(
        "DatasetNotFound", f"split {split}: {folder.address} holds {held}: {said}; docs/data.md has all layouts"
    )


def _find_named(folder: DataFolder, split: str) -> Optional[SplitFiles]:
    found = (SplitFiles(folder, layout, layout.find_named(folder, split)) for layout in LAYOUTS)
    return next((files for files in found if files.paths), None)


def _find_list_of_all(folder: DataFolder, folders: SplitFolders) -> Optional[SplitFiles]:
    found = (SplitFiles(folder, layout, layout.find_list_of_all(folder), folders) for layout in LAYOUTS)
    return next((files for files in found if files.paths), None)


def _find_unnamed(folder: DataFolder) -> Optional[SplitFiles]:
    splits = list_splits(folder)
    found = (SplitFiles(folder, layout, layout.find_unnamed(folder, splits)) for layout in LAYOUTS)
    return next((files for files in found if files.paths), None)


def _splits_of_layout(layout: Layout, folder: DataFolder, names: Iterable[str]) -> Iterator[str]:
    stems = filter(None, map(layout.split_named_by, names))
    yield from (stem for stem in set(stems) if layout.find_named(folder, stem))


def _without_name(folder: DataFolder, split: str) -> Optional[str]:
    """Return why the files of the folder are not the split, if they name no split. Otherwise return None."""
    files = _find_list_of_all(folder, SplitFolders(only=split))
    if files is not None:
        return f"{quoted(files.name)} lists no clip in a folder {quoted(split)}"
    files = _find_unnamed(folder)
    return None if files is None else f"{quoted(files.name)} names no split, so all of it is the train split"


def _no_layout(folder: DataFolder, split: str) -> str:
    *examples, last = (example.format(split=split) for layout in LAYOUTS for example in layout.examples)
    others = [name for name in folder.names() if any(layout.is_file(name) for layout in LAYOUTS)]
    more = f"; if {quoted(others[0])} is a list of clips, let dataset.source name it" if others else ""
    return f"no supported layout is in it, such as {', '.join(examples)} or {last}{more}"


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """The rows of a split, and how to read them. Paths in the audio column are relative to the folder `base`."""

    name: str
    folder: DataFolder
    base: str
    columns: Columns
    rows: Iterator[Row]
    #: What the numbers of rows count, for messages.
    unit: str = "line"

    def language_of(self, row: Row) -> str:
        """Return the language that a row names. It is empty where the row names none."""
        return row_columns.language_named_by(row.values.get(self.columns.language)) if self.columns.language else ""

    def speaker_of(self, row: Row) -> str:
        """Return the speaker that a row names. It is empty where the row names none."""
        return row_columns.speaker_named_by(row.values.get(self.columns.speaker)) if self.columns.speaker else ""


def open_split(files: SplitFiles, names: ColumnNames) -> Split:
    """Open the rows of a split, and find its columns by their names.

    Raises DatasetInvalid, also if the split is empty. Raises DatasetNotFound if no row of a list is in its folder.
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
        return missing_split(files.folder, files.folders.only)
    return TrainerError("DatasetInvalid", f"{quoted(files.name)} of {files.folder.address} is empty")


def _rows_in(folders: SplitFolders, rows: Iterator[Row], columns: Columns, name: str) -> Iterator[Row]:
    """Yield the rows of a list whose sounds are in the folders of a split. Broken rows belong to the train split."""
    others = 0
    for row in rows:
        if folders.hold(row_columns.path_of(row.values.get(columns.audio)) or ""):
            yield row
        else:
            others += 1
    if others and folders.only is None:
        logger.warning("%s: %d rows are in folders of other splits, and are not trained on", quoted(name), others)
