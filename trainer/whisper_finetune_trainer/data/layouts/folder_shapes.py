"""Recognize folders in layouts that are not supported, and say what to do with them."""

import posixpath
import re
from typing import Collection, Iterator, Mapping, Optional, Sequence, Tuple

from whisper_finetune_trainer.data.source_files import DataFolder

#: How deep names are searched for, and in how many folders of each level. LibriSpeech's texts are five levels down.
_DEPTH = 5
_FOLDERS = 2
_LIST = 'write a train.jsonl with a line {"audio": PATH, "text": TEXT} for each clip'
_SEGMENT_LIST = (
    'write a train.jsonl with a line {"audio": PATH, "offset": SECONDS, "duration": SECONDS, "text": TEXT} each'
)
_SOUNDS = (".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav")
_TEXTS = (".txt", ".lab", ".json")
#: Layouts that are recognized by the name of one file, with the advice for each.
_BY_FILE: Mapping[str, Tuple["re.Pattern[str]", str]] = {
    "LibriSpeech's layout (*.trans.txt)": (re.compile(r".*\.trans\.txt"), _LIST),
    "the layout of Multilingual LibriSpeech (transcripts.txt)": (re.compile(r"transcripts\.txt"), _LIST),
    "AISHELL's layout (aishell_transcript*.txt)": (re.compile(r"aishell_transcript.*\.txt"), _LIST),
    "TED-LIUM's layout (*.stm)": (re.compile(r".*\.stm"), _SEGMENT_LIST),
    "subtitles": (re.compile(r".*\.(srt|vtt)", re.IGNORECASE), _SEGMENT_LIST),
    "annotations of Praat or ELAN": (re.compile(r".*\.(textgrid|eaf)", re.IGNORECASE), _SEGMENT_LIST),
    "lhotse's manifests": (
        re.compile(r".*(cuts|supervisions|recordings).*\.jsonl\.gz"),
        "export them, such as by `lhotse kaldi export`, or " + _LIST,
    ),
    "a data set of save_to_disk (*.arrow)": (
        re.compile(r".*\.arrow"),
        'write its splits by to_parquet, such as load_from_disk(PATH)["train"].to_parquet("train.parquet")',
    ),
    "a spreadsheet": (
        re.compile(r".*\.(xlsx?|ods|numbers)", re.IGNORECASE),
        "save it as train.csv, with the columns audio and text",
    ),
    "compressed": (re.compile(r".*\.(gz|bz2|xz|zst|zip|7z|rar|tgz)"), "unpack it first"),
}
#: Label Studio's columns, which have no path and text of a clip by themselves.
_LABEL_STUDIO = frozenset(("data", "annotations"))


def shape_of_folder(folder: DataFolder) -> Optional[str]:
    """Return in words what a folder looks like by the names in it, and what to do. Return None if it is unknown."""
    names = list(_names(folder, "", _DEPTH))
    for shape, (pattern, advice) in _BY_FILE.items():
        if any(pattern.fullmatch(posixpath.basename(name)) for name in names):
            return f"it looks like {shape}, which is not supported as it is: {advice}"
    suffix = _suffix_beside_sounds(names)
    return f"it has a {suffix} beside each sound, which is not supported as it is: {_LIST}" if suffix else None


def _suffix_beside_sounds(names: Sequence[str]) -> Optional[str]:
    sounds = {name.rsplit(".", 1)[0] for name in names if name.lower().endswith(_SOUNDS)}
    beside = {posixpath.splitext(name)[1] for name in names if posixpath.splitext(name)[0] in sounds}
    return next((suffix for suffix in _TEXTS if suffix in beside), None)


def shape_of_columns(columns: Collection[str], folder: DataFolder) -> Optional[str]:
    """Return in words what a list without the needed columns looks like, and what to do, or None if it is unknown."""
    if set(columns) >= _LABEL_STUDIO:
        return f"it looks like Label Studio's JSON, which is not supported as it is: {_SEGMENT_LIST}"
    if folder.is_folder("wavs"):
        return f"it looks like LJSpeech's layout (ID|TEXT|TEXT beside wavs/), whose list has no header: {_LIST}"
    return None


def _names(folder: DataFolder, inside: str, depth: int) -> Iterator[str]:
    """Yield the paths of the files in a folder, and in the first folders of it."""
    found = folder.names(inside)
    yield from (posixpath.join(inside, name) for name in found)
    inner = [path for path in (posixpath.join(inside, name) for name in found) if folder.is_folder(path)]
    for path in inner[:_FOLDERS] if depth > 1 else []:
        yield from _names(folder, path, depth - 1)
