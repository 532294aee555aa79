"""OpenSLR's own downloads: `line_index.tsv`, or one for each gender, names the sound file and the text of each line."""

import posixpath
from typing import Iterator, Sequence

from whisper_finetune_trainer.data.files import source_files
from whisper_finetune_trainer.data.files.data_folder import DataFolder
from whisper_finetune_trainer.data.layouts.manifest import Row

_SOUND = ".wav"


def is_one(name: str) -> bool:
    """Return whether a file is such a list by its name."""
    return name.startswith("line_index") and name.endswith(".tsv")


def rows(folder: DataFolder, paths: Sequence[str]) -> Iterator[Row]:
    """Yield the lines of all lists; paths are relative to the source, and the sounds lie beside their list."""
    number = 0
    for path in paths:
        with source_files.open_text(folder.file(path)) as lines, source_files.in_utf8(path):
            for line in lines:
                number += 1
                # Some have a column between name and text, of speakers or empty.
                name, *others = line.strip().split("\t")
                text = others[-1].strip() if others else ""
                if name:
                    yield _row(number, posixpath.join(posixpath.dirname(path), name.strip() + _SOUND), text)


def _row(number: int, path: str, text: str) -> Row:
    return Row(number, {"audio": path, "text": text}) if text else Row(number, {}, "has no text after its name")
