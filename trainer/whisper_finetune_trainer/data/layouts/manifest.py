"""Manifests: JSON lines, a JSON array or a table, one clip a row, read without holding them whole in memory.

Those of Common Voice, audiofolder and NeMo are told apart by the names of their files and columns alone.
"""

import json
import posixpath
from collections import Counter
from itertools import chain, islice
from typing import Any, Dict, Iterator, List, Optional, Sequence, TextIO, Tuple

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.layouts import layout, tables, tar_shards
from whisper_finetune_trainer.data.layouts.layout import Layout, OpenedRows, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Row
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted, words_of

_ENDINGS = (".jsonl", ".json", *tables.SUFFIXES)
#: Lists of all clips, whatever splits there are.
_LISTS_OF_ALL = ("manifest.jsonl", "manifest.json", "metadata.jsonl", "metadata.csv")
#: NeMo's list of sounds in tar files.
_TARRED = "tarred_audio_manifest.json"
_NEMO = "_manifest.json"
#: Common Voice's folder of sound files, and a column that its tables have and few others do.
_COMMON_VOICE_FOLDER = "clips"
_COMMON_VOICE_COLUMN = "client_id"


def _is_file(name: str) -> bool:
    return name.endswith(_ENDINGS)


def _find_named(folder: DataFolder, split: str) -> Tuple[str, ...]:
    names = [f"{split}.{ending}" for ending in ("jsonl", "csv", "tsv", "json")]
    names += [f"{split}{_NEMO}", f"{split}/{_TARRED}", f"{split}/metadata.jsonl", f"{split}/metadata.csv"]
    return _first_file(folder, [*names, f"{split}/manifest.jsonl", f"{split}/manifest.json"])


def _find_list_of_all(folder: DataFolder) -> Tuple[str, ...]:
    return _first_file(folder, _LISTS_OF_ALL)


def _find_unnamed(folder: DataFolder, _splits: Sequence[str]) -> Tuple[str, ...]:
    return _first_file(folder, [_TARRED])


def _first_file(folder: DataFolder, names: Sequence[str]) -> Tuple[str, ...]:
    found = next(filter(folder.is_file, names), None)
    return () if found is None else (found,)


def _split_named_by(name: str) -> Optional[str]:
    """Return the split that a file may be the list of, by its name: other tables, and JSON, may be anything."""
    if name in {*_LISTS_OF_ALL, _TARRED}:
        return None
    if name.endswith(_NEMO):
        return layout.split_of_name(name[: -len(_NEMO)] + ".json")
    is_one = not _is_file(name) or name.endswith(".jsonl") or layout.begins_with_usual_name(name)
    return layout.split_of_name(name) if is_one else None


def _base_folder(files: SplitFiles, first: Row) -> str:
    beside = posixpath.dirname(files.paths[0])
    sounds = posixpath.join(beside, _COMMON_VOICE_FOLDER)
    return sounds if _COMMON_VOICE_COLUMN in first.values and files.folder.is_folder(sounds) else beside


def _open_rows(files: SplitFiles, names: ColumnNames) -> OpenedRows:
    columns, rows = layout.with_columns(files, read_manifest(files.folder.file(files.paths[0]), files.name), names)
    head = list(islice(rows, 1))
    rows, beside = chain(head, rows), posixpath.dirname(files.paths[0])
    # NeMo's manifests of tar files name one in each row.
    if head and tar_shards.SHARD_ID in head[0].values and tar_shards.is_named_by(head[0], files.folder, beside):
        rows = tar_shards.with_sounds(rows, files.folder, beside, columns.audio)
    return OpenedRows(columns, rows)


def read_manifest(file: str, name: str) -> Iterator[Row]:
    """Yield the rows of a manifest, broken ones too. DatasetInvalid for a file that is not one."""
    suffix = "." + name.rsplit(".", 1)[-1]
    with source_files.open_text(file) as text, source_files.in_utf8(name):
        yield from _table_rows(text, suffix, name) if suffix in tables.SUFFIXES else _json_rows(text, name)


def _table_rows(text: TextIO, suffix: str, name: str) -> Iterator[Row]:
    try:
        yield from (Row(*row) for row in tables.read_table(text, suffix))
    except tables.NoTableError as error:
        raise TrainerError("DatasetInvalid", f"{quoted(name)} is not a table: {words_of(error)}") from error


def _json_rows(text: TextIO, name: str) -> Iterator[Row]:
    first = text.readline()
    while first and not first.strip():
        first = text.readline()
    if first.lstrip().startswith("["):
        yield from _array_rows(first + text.read(), name)
        return
    text.seek(0)
    for number, line in enumerate(text, start=1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    try:
        values = _parsed(line.rstrip("\n"))
    except (ValueError, RecursionError) as error:
        return Row(number, {}, f"is not JSON ({words_of(error)})")
    return Row(number, values) if isinstance(values, dict) else Row(number, {}, "is not a JSON object")


def _array_rows(text: str, name: str) -> Iterator[Row]:
    try:
        entries = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise TrainerError(
            "DatasetInvalid", f"{quoted(name)} is a JSON array that cannot be read: {words_of(error)}"
        ) from error
    for number, values in enumerate(entries, start=1):
        yield Row(number, values) if isinstance(values, dict) else Row(number, {}, "is not a JSON object")


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """Return an object. ValueError where two values have one name: the first would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{name!r:.42} is there twice")
    return values


MANIFEST = Layout(
    endings=_ENDINGS,
    is_file=_is_file,
    open_rows=_open_rows,
    examples=("{split}.jsonl", "{split}.csv", "{split}/metadata.csv"),
    find_named=_find_named,
    find_list_of_all=_find_list_of_all,
    find_unnamed=_find_unnamed,
    split_named_by=_split_named_by,
    base_folder=_base_folder,
)
