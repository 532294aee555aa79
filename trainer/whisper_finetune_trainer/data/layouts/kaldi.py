"""Kaldi's data folders. `wav.scp` has the path of each sound, and `text` what is said in each utterance.

An utterance is a whole sound or, if there is a file `segments`, a segment of a recording.
"""

import logging
import posixpath
import re
from typing import Dict, Iterable, Iterator, Sequence, Tuple

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio import audio_sources
from whisper_finetune_trainer.data.layouts import layout
from whisper_finetune_trainer.data.layouts.layout import Layout, OpenedRows, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Row
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.messages.errors import TrainerError, quoted

#: The list of sounds, or of recordings. The file `text` is in the same folder.
_WAV_SCP = "wav.scp"
#: The columns of all rows, also of broken ones.
_COLUMNS = ("audio", "text")
_SEGMENTS = "segments"
_BLANKS = re.compile(r"[ \t]+")
#: This is the end of a segment that goes to the end of its recording.
_TO_THE_END = re.compile(r"-1(\.0*)?")
logger = logging.getLogger(__name__)


def _is_file(name: str) -> bool:
    return name == _WAV_SCP


def _find_named(folder: DataFolder, split: str) -> Tuple[str, ...]:
    paths = (f"{split}/{_WAV_SCP}", f"data/{split}/{_WAV_SCP}")
    return tuple(filter(folder.is_file, paths))[:1]


def _find_unnamed(folder: DataFolder, _splits: Sequence[str]) -> Tuple[str, ...]:
    return (_WAV_SCP,) if folder.is_file(_WAV_SCP) else ()


def _base_folder(_files: SplitFiles, _first: Row) -> str:
    # Paths are relative to the folder in which the recipe ran, and that is the source's.
    return ""


def _list_name(files: SplitFiles) -> str:
    return posixpath.basename(_list_path(files.folder, files.paths[0]))


def _list_path(folder: DataFolder, path: str) -> str:
    """Return the path of the file with a line per utterance: `segments` beside a `wav.scp`, else `wav.scp` itself."""
    beside = posixpath.join(posixpath.dirname(path), _SEGMENTS)
    return beside if folder.is_file(beside) else path


def _open_rows(files: SplitFiles, names: ColumnNames) -> OpenedRows:
    return layout.with_columns(files, _rows(files.folder, files.paths[0]), names, _COLUMNS)


def _rows(folder: DataFolder, path: str) -> Iterator[Row]:
    """Yield the utterances of a `wav.scp`. Raises DatasetInvalid if its texts are missing, or if it has commands."""
    texts = _texts(folder, posixpath.join(posixpath.dirname(path), "text"))
    listed = _list_path(folder, path)
    if listed != path:
        yield from _segment_rows(folder, listed, _recordings(folder, path), texts)
    else:
        for number, (utterance, sound) in _sounds(folder, path):
            yield _row(number, utterance, sound, texts)
    if texts:
        example = quoted(next(iter(texts)))
        logger.warning("%d lines of text name no utterance of %s, such as %s", len(texts), quoted(listed), example)


def _sounds(folder: DataFolder, path: str) -> Iterator[Tuple[int, Tuple[str, str]]]:
    """Yield the number of each line, its first word and the path. Raises DatasetInvalid for a command."""
    for number, (name, sound) in _lines(folder, path):
        if sound.endswith("|"):
            raise TrainerError(
                "DatasetInvalid",
                f"{quoted(path)} line {number}: {quoted(name)} is the output of a command ({quoted(sound)}), and "
                "commands from a data set are never run; write the sound to files first, such as by `wav-copy`",
            )
        yield number, (name, sound)


def _recordings(folder: DataFolder, path: str) -> Dict[str, str]:
    return _by_name(line for _, line in _sounds(folder, path))


def _by_name(lines: Iterable[Tuple[str, str]]) -> Dict[str, str]:
    """Return the value of each name. It is empty if two lines have different values."""
    found: Dict[str, str] = {}
    for name, said in lines:
        found[name] = said if found.get(name, said) == said else ""
    return found


def _row(number: int, utterance: str, sound: str, texts: Dict[str, str]) -> Row:
    # Removed from the texts, so that a second line with the same name is not another clip of that name.
    text = texts.pop(utterance, None)
    if not sound:
        return Row(number, {}, f"has no path for {quoted(utterance)}")
    if text is None:
        return Row(number, {}, f"utterance {quoted(utterance)} has no line in text, or had a line before")
    return Row(number, {"audio": sound, "text": text}) if text else Row(number, {}, _without_text(utterance))


def _without_text(utterance: str) -> str:
    return f"utterance {quoted(utterance)} has no text, or two lines with different ones"


def _segment_rows(folder: DataFolder, path: str, recordings: Dict[str, str], texts: Dict[str, str]) -> Iterator[Row]:
    for number, (utterance, rest) in _lines(folder, path):
        yield _segment_row(number, utterance, rest, recordings, texts)


def _segment_row(number: int, utterance: str, rest: str, recordings: Dict[str, str], texts: Dict[str, str]) -> Row:
    fields = rest.split()
    if len(fields) != len(("recording", "start", "end")):
        return Row(
            number, {}, f"of {quoted(utterance)} is not UTTERANCE RECORDING START END (channels cannot be chosen)"
        )
    recording, start, end = fields
    sound = recordings.get(recording)
    if not sound:
        return Row(number, {}, f"names recording {quoted(recording)}, which has no path in wav.scp, or two")
    # Removed from the texts, so that a second line with the same name is not another clip of that name.
    text = texts.pop(utterance, None)
    if text is None:
        return Row(number, {}, f"utterance {quoted(utterance)} has no line in text, or had a segment before")
    if not text:
        return Row(number, {}, _without_text(utterance))
    try:
        segment = audio_sources.make_segment(start, None if _TO_THE_END.fullmatch(end) else end)
    except audio_sources.MalformedSegmentError as error:
        return Row(number, {}, f"of {quoted(utterance)} {error}")
    return Row(number, {"audio": sound, "text": text}, segment=segment, name=utterance)


def _texts(folder: DataFolder, path: str) -> Dict[str, str]:
    if not folder.is_file(path):
        raise TrainerError(
            "DatasetInvalid", f"{folder.address} has a wav.scp, but {quoted(path)} with its texts is missing"
        )
    return _by_name(line for _, line in _lines(folder, path))


def _lines(folder: DataFolder, path: str) -> Iterator[Tuple[int, Tuple[str, str]]]:
    """Yield the number of each line, its first word and the rest."""
    with source_files.open_text(folder.file(path)) as text, source_files.in_utf8(path):
        for number, line in enumerate(text, start=1):
            word, *rest = _BLANKS.split(line.strip(), maxsplit=1)
            if word:
                yield number, (word, rest[0] if rest else "")


KALDI = Layout(
    endings=(_WAV_SCP,),
    is_file=_is_file,
    open_rows=_open_rows,
    examples=(f"{{split}}/{_WAV_SCP}",),
    find_named=_find_named,
    find_unnamed=_find_unnamed,
    base_folder=_base_folder,
    list_name=_list_name,
)
