"""OpenSLR's own downloads. `line_index.tsv`, or one for each gender, has a sound file's name and its text per line."""

import posixpath
from typing import Iterator, Sequence, Tuple

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.layouts import layout
from whisper_finetune_trainer.data.layouts.layout import Layout, OpenedRows, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Row
from whisper_finetune_trainer.data.source_files import DataFolder

_SOUND = ".wav"


def _is_file(name: str) -> bool:
    return name.startswith("line_index") and name.endswith(".tsv")


def _find_unnamed(folder: DataFolder, _splits: Sequence[str]) -> Tuple[str, ...]:
    """Return the lists at the top, and those in the folders to which OpenSLR's archives are unpacked."""
    folders = ["", *(name for name in folder.names() if folder.is_folder(name))]
    return tuple(posixpath.join(beside, name) for beside in folders for name in folder.names(beside) if _is_file(name))


def _base_folder(_files: SplitFiles, _first: Row) -> str:
    # Each list has a folder of its own, which is in the rows' paths already.
    return ""


def _open_rows(files: SplitFiles, names: ColumnNames) -> OpenedRows:
    return layout.with_columns(files, _rows(files.folder, files.paths), names)


def _rows(folder: DataFolder, paths: Sequence[str]) -> Iterator[Row]:
    """Yield the lines of all lists. Sounds are in the folder of their list, and paths are relative to the source."""
    number = 0
    for path in paths:
        with source_files.open_text(folder.file(path)) as lines, source_files.in_utf8(path):
            for line in lines:
                number += 1
                # Some lists have a column between name and text: the speaker, or nothing.
                name, *others = line.strip().split("\t")
                text = others[-1].strip() if others else ""
                if name:
                    yield _row(number, posixpath.join(posixpath.dirname(path), name.strip() + _SOUND), text)


def _row(number: int, path: str, text: str) -> Row:
    return Row(number, {"audio": path, "text": text}) if text else Row(number, {}, "has no text after its name")


LINE_INDEX = Layout(
    endings=("line_index.tsv",),
    is_file=_is_file,
    open_rows=_open_rows,
    find_unnamed=_find_unnamed,
    base_folder=_base_folder,
)
