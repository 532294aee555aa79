"""NeMo's tarred data sets: a manifest whose `shard_id` names the tar file, audio_ID.tar, that holds a row's sound."""

import posixpath
from dataclasses import replace
from functools import lru_cache
from typing import Any, Iterator, Mapping, Sequence

from whisper_finetune_trainer.data.audio.audio_sources import Member, Sound
from whisper_finetune_trainer.data.files.data_folder import DataFolder
from whisper_finetune_trainer.data.layouts import tar_shards
from whisper_finetune_trainer.data.layouts.manifest import Row
from whisper_finetune_trainer.messages.quoting import quoted

_SHARD = "shard_id"
#: A manifest goes through the shards one after the other.
_SHARDS_HELD = 4


def are_meant(folder: DataFolder, place: str, first: Sequence[Row]) -> bool:
    """Return whether the first rows of a manifest in the folder `place` name a shard that is there."""
    shard = first[0].values.get(_SHARD) if first else None
    return shard is not None and folder.is_file(_path(place, shard))


def rows(folder: DataFolder, place: str, found: Iterator[Row], column: str) -> Iterator[Row]:
    """Yield the rows of a manifest with their sounds in the shards instead of paths."""

    @lru_cache(maxsize=_SHARDS_HELD)
    def members(path: str) -> Mapping[str, Member]:
        return tar_shards.members_by_name(folder, path)

    for row in found:
        if row.broken:
            yield row
            continue
        path, name = _path(place, row.values.get(_SHARD)), row.values.get(column)
        member = members(path).get(str(name)) if folder.is_file(path) else None
        values = {**row.values, column: Sound(member, f"{path}/{name}") if member else name}
        yield replace(
            row, values=values, broken=None if member else f"names {quoted(name)}, which is not in {quoted(path)}"
        )


def _path(place: str, shard: Any) -> str:
    # A number, which leads to no other folder.
    return posixpath.join(place, f"audio_{str(shard).replace('/', '-')}.tar")
