"""Sounds in tar files: WebDataset's shards, and the tar files that a manifest of NeMo names by `shard_id`.

In a WebDataset shard, a clip is a group of consecutive members with the same name up to its first dot.
"""

import json
import logging
import posixpath
import tarfile
from dataclasses import replace
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, BinaryIO, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, InMemory, NamedAudio
from whisper_finetune_trainer.data.layouts import layout
from whisper_finetune_trainer.data.layouts.layout import Layout, OpenedRows, ShardReader, SplitFiles
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames, Columns, Row
from whisper_finetune_trainer.data.source_files import DataFolder
from whisper_finetune_trainer.messages.errors import TrainerError, listed, quoted, words_of

_ENDING = ".tar"
_SOUNDS = frozenset(["aac", "aif", "aiff", "flac", "m4a", "mp3", "mp4", "oga", "ogg", "opus", "sph", "wav", "webm"])
_TEXTS = frozenset(["lab", "text", "transcript", "txt"])
_JSON = "json"
#: No transcript of half a minute of speech is larger.
_LARGEST_TEXT_BYTES = 1024 * 1024
#: A larger sound is not read into memory. Half a minute of the largest sound that is decoded is smaller, in 32 bit.
_LARGEST_SOUND_BYTES = 48 * 1024 * 1024
#: How many bytes one request fetches where a shard is read from end to end.
_STREAM_BLOCK_BYTES = 4 * 1024 * 1024
_END = bytes(tarfile.BLOCKSIZE)
#: The column by which a manifest of NeMo names its tar files, and how many of these are remembered at a time.
SHARD_ID = "shard_id"
_SHARDS_REMEMBERED = 4
logger = logging.getLogger(__name__)


class _Found(NamedTuple):
    """A file of a shard, its content if that is wanted, and the byte after it."""

    member: ByteRange
    content: bytes
    end: int


def _is_file(name: str) -> bool:
    return name.endswith(_ENDING)


def _open_rows(files: SplitFiles, names: ColumnNames) -> OpenedRows:
    return layout.with_columns(files, _rows(files.folder, files.paths), names)


def is_named_by(row: Row, folder: DataFolder, beside: str) -> bool:
    """Return whether a row of a manifest in the folder `beside` names a tar file that exists."""
    shard = row.values.get(SHARD_ID)
    return shard is not None and folder.is_file(_path_of_shard(beside, shard))


def with_sounds(rows: Iterator[Row], folder: DataFolder, beside: str, column: str) -> Iterator[Row]:
    """Yield the rows of a manifest, with sounds in the tar files beside it instead of paths."""

    @lru_cache(maxsize=_SHARDS_REMEMBERED)
    def members(path: str) -> Mapping[str, ByteRange]:
        return {found.member.name: found.member for found in _members(folder.file(path), path)}

    for row in rows:
        if row.broken:
            yield row
            continue
        path, name = _path_of_shard(beside, row.values.get(SHARD_ID)), row.values.get(column)
        member = members(path).get(str(name)) if folder.is_file(path) else None
        values = {**row.values, column: NamedAudio(member, f"{path}/{name}") if member else name}
        yield replace(
            row, values=values, broken=None if member else f"names {quoted(name)}, which is not in {quoted(path)}"
        )


def _path_of_shard(beside: str, shard: Any) -> str:
    # It should be a number. Whatever it is, it must not lead to another folder.
    return posixpath.join(beside, f"audio_{str(shard).replace('/', '-')}{_ENDING}")


def _rows(folder: DataFolder, paths: Sequence[str]) -> Iterator[Row]:
    """Yield the clips of all shards in order. Raises DatasetInvalid for a shard that is not a plain tar file."""
    number = 0
    for path in paths:
        for key, members in groupby(_members(folder.file(path), path), key=_key_of):
            number += 1
            yield _row(number, path, key, list(members))


def _rows_with_sound(folder: DataFolder, path: str, _columns: Columns, start: int) -> Iterator[Tuple[Row, int]]:
    """Yield the clips of a shard from a byte on with their sounds in memory, each with the byte of the next clip.

    The number of a row is the byte where its clip begins. Raises DatasetInvalid for a shard that is cut or broken.
    """
    for key, found in groupby(_members(folder.file(path), path, start, with_sound=True), key=_key_of):
        members = list(found)
        yield _row(start, path, key, members), members[-1].end
        start = members[-1].end


def _holds_sounds(_files: SplitFiles, _columns: Columns) -> bool:
    return True


def _members(file: str, path: str, start: int = 0, *, with_sound: bool = False) -> Iterator[_Found]:
    """Yield the files of a shard from a byte on. Texts have their content, and sounds have it if `with_sound`."""
    block = {"block_bytes": _STREAM_BLOCK_BYTES} if with_sound else {}
    try:
        with source_files.open_file(file, **block) as opened, _archive(opened, start, path) as archive:
            for entry in archive:
                # Only plain files, because a link could lead out of the shard. Hidden files are no clips: macOS puts
                # one before each file.
                if entry.isreg() and not posixpath.basename(entry.name).startswith("."):
                    content = _content(archive, entry) or (_sound(opened, entry) if with_sound else b"")
                    yield _Found(ByteRange(file, entry.offset_data, entry.size, entry.name), content, archive.offset)
                # tarfile remembers every header, and a shard may have a hundred thousand.
                archive.members = []  # type: ignore[attr-defined]  # typeshed does not know it
            _require_end(opened, archive.offset, path)
    except tarfile.TarError as error:
        raise TrainerError(
            "DatasetInvalid",
            f"{quoted(path)} is not a whole plain tar file ({words_of(error)}); compressed ones must be unpacked first",
        ) from error


def _archive(opened: BinaryIO, start: int, path: str) -> tarfile.TarFile:
    if start == 0:
        source_files.require_content(opened, path)
    # tarfile begins at the file's current position.
    opened.seek(start)
    return tarfile.open(fileobj=opened, mode="r:")


def _require_end(opened: BinaryIO, offset: int, path: str) -> None:
    """Raise DatasetInvalid if something else than the end of a tar file follows the last member."""
    # tarfile takes a cut or broken header for the end. The clips after it would be missing without notice.
    opened.seek(offset)
    found = opened.read(len(_END))
    if not found:
        logger.warning(
            "%s ends with its last member, without the mark of a tar file's end: make sure that it was copied whole",
            quoted(path),
        )
    elif found != _END:
        raise TrainerError(
            "DatasetInvalid",
            f"{quoted(path)} is cut or broken at byte {offset}: no member and no end of a tar file follows "
            "there; copy the shard again",
        )


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    if _suffix(entry.name) not in _TEXTS | {_JSON} or entry.size > _LARGEST_TEXT_BYTES:
        return b""
    opened = archive.extractfile(entry)
    return opened.read() if opened else b""


def _sound(opened: BinaryIO, entry: tarfile.TarInfo) -> bytes:
    if _suffix(entry.name) not in _SOUNDS or entry.size > _LARGEST_SOUND_BYTES:
        return b""
    opened.seek(entry.offset_data)
    content = opened.read(entry.size)
    if len(content) < entry.size:
        raise tarfile.ReadError(f"it ends within {quoted(entry.name)}")
    return content


def _row(number: int, path: str, key: str, members: List[_Found]) -> Row:
    values: Dict[str, Any] = {}
    sounds = [posixpath.basename(found.member.name) for found in members if _suffix(found.member.name) in _SOUNDS]
    if len(sounds) != 1:
        return Row(number, {}, f"{quoted(key)} of {quoted(path)} {_without_one_sound(sounds, members)}")
    try:
        for found in members:
            values.update(_values(path, found.member, found.content))
    except (ValueError, RecursionError) as error:
        return Row(number, {}, f"{quoted(key)} of {quoted(path)} has a text that cannot be read ({words_of(error)})")
    return Row(number, values)


def _without_one_sound(sounds: List[str], members: List[_Found]) -> str:
    if sounds:
        return f"has {len(sounds)} sounds ({listed(sounds)}): what is before the first dot of a name is the clip's"
    names = listed(posixpath.basename(found.member.name) for found in members)
    return (
        f"has no sound beside {names}: the files of a clip follow each other, and sounds end in .wav, .flac or the like"
    )


def _values(path: str, member: ByteRange, content: bytes) -> Dict[str, Any]:
    suffix = _suffix(member.name)
    if suffix in _SOUNDS:
        return {"audio": NamedAudio(InMemory(content, member) if content else member, f"{path}/{member.name}")}
    if suffix in _TEXTS:
        return {"text": content.decode("utf-8-sig")}
    if suffix == _JSON:
        found = json.loads(content)
        # A path in it is a path on the machine that made the shard.
        return {name: value for name, value in found.items() if name != "audio"} if isinstance(found, dict) else {}
    return {}


def _key_of(found: _Found) -> str:
    return _key(found.member.name)


def _key(name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.split(".", 1)[0])


def _suffix(name: str) -> str:
    return name.rsplit(".", 1)[-1].lower()


TAR = Layout(
    endings=(_ENDING,),
    is_file=_is_file,
    open_rows=_open_rows,
    examples=(f"{{split}}-*{_ENDING}",),
    find_named=partial(layout.find_named_shards, ending=_ENDING),
    find_unnamed=partial(layout.find_numbered_shards, ending=_ENDING),
    shards=ShardReader("byte", _rows_with_sound, _holds_sounds),
)
