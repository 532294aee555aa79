"""Parquet files with embedded audio, as the Hub has them: rows without their sound, and the sound of one row."""

import posixpath
import threading
from functools import lru_cache
from typing import Any, Iterator, Mapping, Sequence, Tuple

import pyarrow as pa
from pyarrow import parquet

from whisper_finetune_trainer.data.audio import parquet_cells
from whisper_finetune_trainer.data.audio.audio_sources import Cell, Held, Sound
from whisper_finetune_trainer.data.audio.segments import MANIFEST_COLUMNS as SEGMENT_COLUMNS
from whisper_finetune_trainer.data.files import source_files
from whisper_finetune_trainer.data.files.data_folder import DataFolder
from whisper_finetune_trainer.data.layouts.manifest import Columns, Row
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import quoted

#: A row group is read as a whole, and two are held: the one that is read and the one before it.
_LARGEST_GROUP_BYTES = 512 * 1024 * 1024
_GROUPS_HELD = 2
#: Where a shard is read from end to end: bytes of one request, of a column's pages at a time, and rows at a time.
_STREAM_BLOCK_BYTES = 4 * 1024 * 1024
_PAGE_BYTES = 1024 * 1024
_STREAM_ROWS = 16
_reading = threading.RLock()


def column_names(folder: DataFolder, path: str) -> Tuple[str, ...]:
    """Return the columns of a shard; DatasetInvalid for a file that is none."""
    return tuple(parquet_cells.opened(folder.file(path)).schema_arrow.names)


def rows(folder: DataFolder, paths: Sequence[str], columns: Columns) -> Iterator[Row]:
    """Yield the rows of all shards: the text, and where the sound is. One row group's texts are held at a time."""
    number = 0
    for path in paths:
        file = folder.file(path)
        parquet_cells.require_columns(parquet_cells.opened(file).schema_arrow, columns, path)
        for group in range(parquet_cells.opened(file).num_row_groups):
            with parquet_cells.whole(path):
                names, texts = _names_and_texts(file, group, columns)
                places = _more(file, group, columns, len(texts))
            for row, (name, text, place) in enumerate(zip(names, texts, places)):
                number += 1
                sound = _sound(name, path, Cell(file, group, row, columns.audio))
                yield Row(number, {**place, columns.audio: sound, columns.text: text})


def is_embedded(folder: DataFolder, path: str, column: str) -> bool:
    """Return whether a shard holds the sounds themselves, and not their paths."""
    return _is_embedded(folder.file(path), column)


def rows_with_sound(folder: DataFolder, path: str, columns: Columns, start: int) -> Iterator[Tuple[Row, int]]:
    """Yield the rows of a shard from a row on, their sounds in memory, each with the row that is next.

    A row group is read by its pages, so its size does not matter. DatasetInvalid for a file that is no whole shard.
    """
    file, first = folder.file(path), 0
    with parquet_cells.whole(path), source_files.open_file(file, _STREAM_BLOCK_BYTES) as opened:
        shard = parquet.ParquetFile(opened, buffer_size=_PAGE_BYTES, pre_buffer=False)
        parquet_cells.require_columns(shard.schema_arrow, columns, path)
        for group in range(shard.num_row_groups):
            after = first + shard.metadata.row_group(group).num_rows
            if start < after:
                for row, values in _group_values(shard, group, columns, max(0, start - first)):
                    cell = Cell(file, group, row, columns.audio)
                    sound = _sound_in_memory(path, cell, values[columns.audio])
                    yield Row(first + row, {**values, columns.audio: sound}), first + row + 1
            first = after


def _group_values(shard: Any, group: int, columns: Columns, start: int) -> Iterator[Tuple[int, Mapping[str, Any]]]:
    """Yield each row of a row group from a row on, with its sound, text and language."""
    kind = shard.schema_arrow.field(columns.audio).type
    parts = [field.name for field in kind if field.name in {"bytes", "path"}] if pa.types.is_struct(kind) else []
    names = [columns.audio, columns.text]
    names += [columns.language] if columns.language and columns.language in shard.schema_arrow.names else []
    wanted = [*(f"{columns.audio}.{name}" for name in parts), *names[1 if parts else 0 :]]
    row = 0
    for batch in shard.iter_batches(_STREAM_ROWS, row_groups=[group], columns=wanted, use_threads=False):
        for place in range(batch.num_rows):
            if row >= start:
                yield row, {name: batch.column(name)[place].as_py() for name in names}
            row += 1


def _sound_in_memory(path: str, cell: Cell, value: Any) -> Sound:
    found = value if isinstance(value, dict) else {"bytes": value}
    content, name = found.get("bytes"), found.get("path")
    # Also where there is none: a cell's place alone would be read with all of its row group.
    return Sound(Held(content if isinstance(content, bytes) else b"", cell), _name_of(name, path, cell))


def content(cell: Cell) -> bytes:
    """Return the sound file in a cell, empty where there is none; the rest of its row group is held for the next."""
    # One at a time: readers that ask for rows of one group together would each read all of it.
    with _reading, parquet_cells.whole(cell.file):
        value = _sounds(cell.file, cell.row_group, cell.column)[cell.row].as_py()
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) else b""


def _sound(name: Any, path: str, cell: Cell) -> Any:
    is_path = isinstance(name, str) and not _is_embedded(cell.file, cell.column)
    if is_path:
        return name
    return Sound(cell, _name_of(name, path, cell))


def _name_of(name: Any, path: str, cell: Cell) -> str:
    label = posixpath.basename(name) if isinstance(name, str) else ""
    return f"{path}:{cell.row_group}:{cell.row}{' ' if label else ''}{label}"


def _is_embedded(file: str, column: str) -> bool:
    kind = parquet_cells.opened(file).schema_arrow.field(column).type
    return not (pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _names_and_texts(file: str, group: int, columns: Columns) -> "Tuple[Sequence[Any], Sequence[Any]]":
    kind = parquet_cells.opened(file).schema_arrow.field(columns.audio).type
    has_names = pa.types.is_struct(kind) and "path" in [field.name for field in kind]
    name = f"{columns.audio}.path" if has_names else None
    if not _is_embedded(file, columns.audio):
        name = columns.audio
    wanted = [columns.text, *([name] if name else [])]
    with _reading:
        table = parquet_cells.opened(file).read_row_group(group, columns=wanted, use_threads=False)
    texts = table.column(columns.text).to_pylist()
    if name is None:
        return [None] * len(texts), texts
    found = table.column(columns.audio).to_pylist()
    return [value.get("path") if isinstance(value, dict) else value for value in found], texts


def _more(file: str, group: int, columns: Columns, rows: int) -> Sequence[Mapping[str, Any]]:
    """Return what each row says of its language and, where its sound lies elsewhere, of the part of its recording."""
    wanted = [columns.language, *([] if _is_embedded(file, columns.audio) else SEGMENT_COLUMNS)]
    present = [name for name in wanted if name in parquet_cells.opened(file).schema_arrow.names]
    if not present:
        return [{}] * rows
    with _reading:
        found = parquet_cells.opened(file).read_row_group(group, columns=present, use_threads=False).to_pylist()
    return list(found)


@lru_cache(maxsize=_GROUPS_HELD)
def _sounds(file: str, group: int, column: str) -> Any:
    opened = parquet_cells.opened(file)
    size = _column_bytes(opened, group, column)
    if size > _LARGEST_GROUP_BYTES:
        raise TrainerError(
            "DatasetInvalid",
            f"{quoted(file)}: row group {group} holds {size / 1e6:.0f} MB of sound, more than "
            f"{_LARGEST_GROUP_BYTES / 1e6:.0f} MB, and must be read as a whole for each clip; "
            "write it again with smaller ones (row_group_size=100 in pyarrow's write_table)",
        )
    # Without the path, which is a second column in the file.
    kind = opened.schema_arrow.field(column).type
    name = f"{column}.bytes" if pa.types.is_struct(kind) else column
    return opened.read_row_group(group, columns=[name], use_threads=False).column(column)


def _column_bytes(opened: Any, group: int, column: str) -> int:
    chunks = opened.metadata.row_group(group)
    found = (chunks.column(place) for place in range(chunks.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in found if chunk.path_in_schema.split(".")[0] == column)
