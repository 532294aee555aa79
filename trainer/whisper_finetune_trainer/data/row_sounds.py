"""The sound that a row names: what its shard holds, or a path inside of the data set's folder."""

import posixpath
import re
from typing import Optional, Union

from whisper_finetune_trainer.data.audio.audio_sources import Sound, WholeFile
from whisper_finetune_trainer.data.clips import Drop
from whisper_finetune_trainer.data.layouts import row_columns
from whisper_finetune_trainer.data.layouts.row_columns import Row
from whisper_finetune_trainer.data.layouts.splits import Split
from whisper_finetune_trainer.messages.quoting import quoted
from whisper_finetune_trainer.stores.volumes import RefusedFileError

_OUTSIDE = "path outside of the source"
#: C:\Users\anna, and \\server\share.
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def of_row(split: Split, row: Row, line: str) -> Union[Sound, Drop]:
    """Return the sound of a row, or what is wrong with it; `line` is what messages call the row."""
    value = row.values.get(split.columns.audio)
    if isinstance(value, Sound):
        return value if is_unicode(value.name) else _half(value.name, line)
    path = row_columns.path_of(value)
    if path is None:
        return Drop("broken line", f"{line} has no path in column {quoted(split.columns.audio)}")
    if "\0" in path:
        return Drop("broken line", f"{line}: {quoted(path)} is no path")
    return _of_path(split, path, line) if is_unicode(path) else _half(path, line)


def is_unicode(text: str) -> bool:
    """Return whether a text can be written: JSON may name halves of characters, and a tar file any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _half(name: str, line: str) -> Drop:
    return Drop("broken line", f"{line}: the name {quoted(name)} has halves of characters")


def _of_path(split: Split, path: str, line: str) -> Union[Sound, Drop]:
    try:
        name = _name_of(split, path)
        if name is not None:
            return Sound(WholeFile(split.folder.file(name)), name)
    except RefusedFileError as refused:
        return Drop(_OUTSIDE, f"{line}: {refused.message}")
    said = f"{quoted(path)} lies outside of the data set's folder; make it relative to {quoted(split.name)}"
    return Drop(_OUTSIDE, f"{line}: {said}")


def _name_of(split: Split, path: str) -> Optional[str]:
    """Return the path of a file in the folder, None for one outside of it."""
    if _OF_WINDOWS.match(path):
        return None
    name = _relative(split, path)
    # A name may hold a backslash, but where a file is behind one that parts folders, that is what was meant.
    by_folders = _relative(split, path.replace("\\", "/")) if "\\" in path else None
    return by_folders if by_folders is not None and split.folder.is_file(by_folders) else name


def _relative(split: Split, path: str) -> Optional[str]:
    is_whole = path.startswith("/") or "://" in path
    return split.folder.relative(path if is_whole else posixpath.join(split.base, path))
