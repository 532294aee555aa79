"""Parquet files, opened: which columns they must have, and what is said of one that is broken."""

import os
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Iterator

import pyarrow as pa
from pyarrow import parquet

from whisper_finetune_trainer.data.files import source_files
from whisper_finetune_trainer.data.layouts.manifest import Columns
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import listed, quoted, words_of

_BLOCK_BYTES = 1024 * 1024


@contextmanager
def whole(name: str) -> Iterator[None]:
    """Turn what pyarrow says of a broken file into DatasetInvalid; what a disk or a store says passes through."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and not _is_of_the_content(error):
            raise
        said = words_of(error)
        raise TrainerError(
            "DatasetInvalid", f"{quoted(name)} is no whole Parquet file: {said}; copy it again"
        ) from error


def _is_of_the_content(error: OSError) -> bool:
    # pyarrow says what is wrong with a page by a plain OSError; what a disk or a store says has a number, or a class.
    return type(error) is OSError and error.errno is None


def require_columns(schema: Any, columns: Columns, name: str) -> None:
    """Raise DatasetInvalid for a shard that has not one column of each name, or sounds in a form that is not known."""
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


def opened(file: str) -> Any:
    """Return an open Parquet file; its foot is read once in each process: a forked one shares the place in a file."""
    return _open(file, os.getpid())


@lru_cache(maxsize=16)
def _open(file: str, _process: int) -> Any:
    with whole(file):
        opened = source_files.open_file(file, _BLOCK_BYTES)
        try:
            return parquet.ParquetFile(opened, pre_buffer=False)
        except pa.ArrowInvalid:
            # Not before: of a store, a file's start is a request that nothing else needs.
            opened.seek(0)
            source_files.require_content(opened, file)
            raise
