"""Open Parquet files, and read the sound in a cell."""

import os
import threading
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Iterator

import pyarrow as pa
from pyarrow import parquet

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio.audio_sources import ParquetCell
from whisper_finetune_trainer.messages.errors import TrainerError, quoted, words_of

_BLOCK_BYTES = 1024 * 1024
#: A row group is read as a whole. Two are cached: the current one and the one before it.
_LARGEST_GROUP_BYTES = 512 * 1024 * 1024
_GROUPS_CACHED = 2
#: The lock for reading a file, which is opened once for all threads.
READING = threading.RLock()


@contextmanager
def broken_file_refused(name: str) -> Iterator[None]:
    """Turn pyarrow's errors about a broken file into DatasetInvalid. Errors of a disk or a store pass through."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and not _is_of_the_content(error):
            raise
        said = words_of(error)
        raise TrainerError(
            "DatasetInvalid", f"{quoted(name)} is not a whole Parquet file: {said}; copy it again"
        ) from error


def _is_of_the_content(error: OSError) -> bool:
    # For a broken page pyarrow raises a plain OSError. The error of a disk or a store has a number, or another class.
    return type(error) is OSError and error.errno is None


def open_parquet(file: str) -> Any:
    """Return an open Parquet file. It is opened once in each process, because a fork shares the position in a file."""
    return _open(file, os.getpid())


@lru_cache(maxsize=16)
def _open(file: str, _process: int) -> Any:
    with broken_file_refused(file):
        opened = source_files.open_file(file, _BLOCK_BYTES)
        try:
            return parquet.ParquetFile(opened, pre_buffer=False)
        except pa.ArrowInvalid:
            # Only now: in a store, reading the file's start would cost a request that nothing else needs.
            opened.seek(0)
            source_files.require_content(opened, file)
            raise


def read_cell(cell: ParquetCell) -> bytes:
    """Return the sound file in a cell. It is empty for an empty cell. The cell's row group is cached for the next.

    Raises DatasetInvalid for a broken file, and for a row group that is too large.
    """
    # One thread at a time: several threads that ask for rows of one group would each read the whole group.
    with READING, broken_file_refused(cell.file):
        value = _sounds(cell.file, cell.row_group, cell.column)[cell.row].as_py()
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) else b""


@lru_cache(maxsize=_GROUPS_CACHED)
def _sounds(file: str, group: int, column: str) -> Any:
    opened = open_parquet(file)
    size = _column_bytes(opened, group, column)
    if size > _LARGEST_GROUP_BYTES:
        raise TrainerError(
            "DatasetInvalid",
            f"{quoted(file)}: row group {group} holds {size / 1e6:.0f} MB of sound, more than "
            f"{_LARGEST_GROUP_BYTES / 1e6:.0f} MB, and must be read as a whole for each clip; "
            "write it again with smaller ones (row_group_size=100 in pyarrow's write_table)",
        )
    # Without the path, which is another column in the file.
    kind = opened.schema_arrow.field(column).type
    name = f"{column}.bytes" if pa.types.is_struct(kind) else column
    return opened.read_row_group(group, columns=[name], use_threads=False).column(column)


def _column_bytes(opened: Any, group: int, column: str) -> int:
    chunks = opened.metadata.row_group(group)
    found = (chunks.column(position) for position in range(chunks.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in found if chunk.path_in_schema.split(".")[0] == column)
