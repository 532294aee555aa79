"""Parquet shards, as the Hub has them. Their cells have the sounds themselves, or paths."""

import posixpath
from functools import partial
from typing import Any, Iterator, Mapping, Sequence, Tuple

import pyarrow as pa
from pyarrow import parquet

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio import parquet_cells
from whisper_finetune_trainer.data.audio.audio_sources import InMemory, NamedAudio, ParquetCell
from whisper_finetune_trainer.data.layouts import layout
from whisper_finetune_trainer.data.layouts.layout import Layout, OpenedRows, ShardReader, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import SEGMENT_COLUMNS, ColumnNames, Columns, Row
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.messages.errors import TrainerError, listed, quoted

_ENDING = ".parquet"
#: For a shard that is read from end to end: the bytes of one request, the bytes of pages read at a time, and the rows.
_STREAM_BLOCK_BYTES = 4 * 1024 * 1024
_PAGE_BYTES = 1024 * 1024
_STREAM_ROWS = 16


def _is_file(name: str) -> bool:
    return name.endswith(_ENDING)


def _open_rows(files: SplitFiles, names: ColumnNames) -> OpenedRows:
    present = parquet_cells.open_parquet(files.folder.file(files.paths[0])).schema_arrow.names
    columns = layout.require_columns(files, [Row(0, dict.fromkeys(present))], names)
    return OpenedRows(columns, _rows(files.folder, files.paths, columns))


def _rows(folder: DataFolder, paths: Sequence[str], columns: Columns) -> Iterator[Row]:
    """Yield the rows of all shards with their texts and audio sources. Only one row group's texts are in memory."""
    number = 0
    for path in paths:
        file = folder.file(path)
        _require_columns(parquet_cells.open_parquet(file).schema_arrow, columns, path)
        for group in range(parquet_cells.open_parquet(file).num_row_groups):
            with parquet_cells.broken_file_refused(path):
                names, texts = _names_and_texts(file, group, columns)
                more = _more(file, group, columns, len(texts))
            for row, (name, text, values) in enumerate(zip(names, texts, more)):
                number += 1
                sound = _sound(name, path, ParquetCell(file, group, row, columns.audio))
                yield Row(number, {**values, columns.audio: sound, columns.text: text})


def _holds_sounds(files: SplitFiles, columns: Columns) -> bool:
    return _is_embedded(files.folder.file(files.paths[0]), columns.audio)


def _rows_with_sound(folder: DataFolder, path: str, columns: Columns, start: int) -> Iterator[Tuple[Row, int]]:
    """Yield the rows of a shard from a row on with their sounds in memory, each with the number of the next row.

    A row group is read page by page, so its size does not matter. Raises DatasetInvalid for a file that is not a whole
    shard.
    """
    file, first = folder.file(path), 0
    with parquet_cells.broken_file_refused(path), source_files.open_file(file, _STREAM_BLOCK_BYTES) as opened:
        shard = parquet.ParquetFile(opened, buffer_size=_PAGE_BYTES, pre_buffer=False)
        _require_columns(shard.schema_arrow, columns, path)
        for group in range(shard.num_row_groups):
            after = first + shard.metadata.row_group(group).num_rows
            if start < after:
                for row, values in _group_values(shard, group, columns, max(0, start - first)):
                    cell = ParquetCell(file, group, row, columns.audio)
                    sound = _sound_in_memory(path, cell, values[columns.audio])
                    yield Row(first + row, {**values, columns.audio: sound}), first + row + 1
            first = after


def _require_columns(schema: Any, columns: Columns, name: str) -> None:
    """Raise DatasetInvalid if a shard has none or several of a column, or if its sounds are in an unknown form."""
    for column in (columns.audio, columns.text):
        if column not in schema.names:
            raise TrainerError(
                "DatasetInvalid",
                f"{quoted(name)} has no column {quoted(column)}; its columns are {listed(schema.names)}, and all "
                "shards of a split must have the same",
            )
        if schema.names.count(column) > 1:
            raise TrainerError(
                "DatasetInvalid",
                f"{quoted(name)} has {schema.names.count(column)} columns {quoted(column)}: rename all but one",
            )
    kind = schema.field(columns.audio).type
    fields = [field.name for field in kind] if pa.types.is_struct(kind) else ["bytes"]
    if "bytes" not in fields:
        raise TrainerError(
            "DatasetInvalid",
            f"column {quoted(columns.audio)} of {quoted(name)} holds {quoted(' and '.join(fields))}, and no bytes; "
            "write each sound as a file, in bytes, or in a struct of bytes and path",
        )


def _group_values(shard: Any, group: int, columns: Columns, start: int) -> Iterator[Tuple[int, Mapping[str, Any]]]:
    """Yield number and values of each row of a row group from a row on: its sound, text and language."""
    kind = shard.schema_arrow.field(columns.audio).type
    parts = [field.name for field in kind if field.name in {"bytes", "path"}] if pa.types.is_struct(kind) else []
    names = [columns.audio, columns.text]
    names += [columns.language] if columns.language and columns.language in shard.schema_arrow.names else []
    wanted = [*(f"{columns.audio}.{name}" for name in parts), *names[1 if parts else 0 :]]
    row = 0
    for batch in shard.iter_batches(_STREAM_ROWS, row_groups=[group], columns=wanted, use_threads=False):
        for position in range(batch.num_rows):
            if row >= start:
                yield row, {name: batch.column(name)[position].as_py() for name in names}
            row += 1


def _sound_in_memory(path: str, cell: ParquetCell, value: Any) -> NamedAudio:
    found = value if isinstance(value, dict) else {"bytes": value}
    content, name = found.get("bytes"), found.get("path")
    # Also for an empty cell: without content in memory, the cell's whole row group would be read.
    return NamedAudio(InMemory(content if isinstance(content, bytes) else b"", cell), _name_of(name, path, cell))


def _sound(name: Any, path: str, cell: ParquetCell) -> Any:
    is_path = isinstance(name, str) and not _is_embedded(cell.file, cell.column)
    if is_path:
        return name
    return NamedAudio(cell, _name_of(name, path, cell))


def _name_of(name: Any, path: str, cell: ParquetCell) -> str:
    label = posixpath.basename(name) if isinstance(name, str) else ""
    return f"{path}:{cell.row_group}:{cell.row}{' ' if label else ''}{label}"


def _is_embedded(file: str, column: str) -> bool:
    """Return whether a shard has the sounds themselves, and not their paths."""
    kind = parquet_cells.open_parquet(file).schema_arrow.field(column).type
    return not (pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _names_and_texts(file: str, group: int, columns: Columns) -> "Tuple[Sequence[Any], Sequence[Any]]":
    kind = parquet_cells.open_parquet(file).schema_arrow.field(columns.audio).type
    has_names = pa.types.is_struct(kind) and "path" in [field.name for field in kind]
    name = f"{columns.audio}.path" if has_names else None
    if not _is_embedded(file, columns.audio):
        name = columns.audio
    wanted = [columns.text, *([name] if name else [])]
    with parquet_cells.READING:
        table = parquet_cells.open_parquet(file).read_row_group(group, columns=wanted, use_threads=False)
    texts = table.column(columns.text).to_pylist()
    if name is None:
        return [None] * len(texts), texts
    found = table.column(columns.audio).to_pylist()
    return [value.get("path") if isinstance(value, dict) else value for value in found], texts


def _more(file: str, group: int, columns: Columns, rows: int) -> Sequence[Mapping[str, Any]]:
    """Return further values of each row: its language and, if its sound is in another file, its segment."""
    wanted = [columns.language, *([] if _is_embedded(file, columns.audio) else SEGMENT_COLUMNS)]
    present = [name for name in wanted if name in parquet_cells.open_parquet(file).schema_arrow.names]
    if not present:
        return [{}] * rows
    with parquet_cells.READING:
        found = parquet_cells.open_parquet(file).read_row_group(group, columns=present, use_threads=False).to_pylist()
    return list(found)


PARQUET = Layout(
    endings=(_ENDING,),
    is_file=_is_file,
    open_rows=_open_rows,
    examples=(f"{{split}}-*{_ENDING}",),
    find_named=partial(layout.find_named_shards, ending=_ENDING),
    find_unnamed=partial(layout.find_numbered_shards, ending=_ENDING),
    shards=ShardReader("row", _rows_with_sound, _holds_sounds),
)
