"""Whole folders of a run, as they are found in its output."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from whisper_finetune_trainer.output import folder_manifest
from whisper_finetune_trainer.output.storage import Storage


@dataclass(frozen=True)
class StoredFolder:
    """A whole folder of this run; `path` is below the run's folder, `sha256` that of its manifest."""

    path: str
    manifest: folder_manifest.Manifest
    sha256: str


@dataclass(frozen=True)
class OpenedFolder:
    """A whole folder whose content is what was written, and where it can be read for now."""

    stored: StoredFolder
    local: Path


def find(storage: Storage, run: str, path: str) -> Optional[StoredFolder]:
    """Return the folder at `path` below that of a run if it is whole by its sizes, whoever wrote it; else None."""
    content = storage.read_bytes(f"{run}/{path}/{folder_manifest.NAME}")
    found = folder_manifest.parse(content) if content is not None else None
    if content is None or found is None:
        return None
    if not folder_manifest.sizes_match(found, storage.sizes(f"{run}/{path}")):
        return None
    return StoredFolder(path, found, folder_manifest.sha256(content))
