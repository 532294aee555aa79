"""manifest.json, which is written last into every folder of a run.

A folder does not count if it has no manifest, or other files than its manifest says.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Dict, Mapping, Optional

import pydantic_core
from pydantic import Field, field_validator

from whisper_finetune_api.v1alpha1.api_model import ApiModel, Digest
from whisper_finetune_api.v1alpha1.scores import Part, Percent, WordErrorRate
from whisper_finetune_trainer.output import record
from whisper_finetune_trainer.output.record import Record
from whisper_finetune_trainer.output.storage import Storage

NAME = "manifest.json"
_CHUNK_BYTES = 1 << 20


class ManifestFile(ApiModel):
    """The size and the digest of a file as it was written."""

    bytes: int = Field(ge=0)
    sha256: Digest


class Manifest(Record):
    """The files of a whole folder, and which run wrote it at which step."""

    uid: str = Field(max_length=64)
    training_fields: Digest = Field(description="Of the spec's fields that decide the weights.")
    step: int = Field(ge=0)
    score: Optional[Percent] = None
    wer: Optional[Percent] = None
    part: Optional[Part] = Field(None, description="The clips of both figures. Absent: the held-out ones.")
    made_from: Optional[Digest] = Field(
        None, description="Of spec, data and weights of the run whose final model it is. Absent: nobody wrote it down."
    )
    files: Dict[str, ManifestFile]

    @field_validator("files")
    @classmethod
    def _stay_below(cls, files: Dict[str, ManifestFile]) -> Dict[str, ManifestFile]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{name!r} leads out of the folder")
        return files


def describe_folder(
    folder: Path,
    uid: str,
    training_fields: str,
    step: int,
    figures: Optional[WordErrorRate] = None,
    made_from: Optional[str] = None,
) -> Manifest:
    """Return the manifest of a filled folder. It reads every file once. `figures` are those of the folder's model."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): ManifestFile(bytes=path.stat().st_size, sha256=file_sha256(path))
        for path in paths
    }
    return Manifest(
        uid=uid,
        training_fields=training_fields,
        step=step,
        score=figures.score if figures else None,
        wer=figures.wer if figures else None,
        part=figures.part if figures else None,
        made_from=made_from,
        files=files,
    )


def render_manifest(manifest: Manifest) -> bytes:
    """Return the content of manifest.json."""
    return (json.dumps(manifest.to_json_object(), indent=1, ensure_ascii=False) + "\n").encode()


def parse_manifest(content: bytes) -> Optional[Manifest]:
    """Return the manifest, or None where the content is no manifest. Raises VersionMismatch for a later format."""
    try:
        return record.read_record(Manifest, pydantic_core.from_json(content))
    except ValueError:
        return None


def sizes_match(manifest: Manifest, sizes: Mapping[str, int]) -> bool:
    """Return whether every file of the manifest has its size. `sizes` are by path relative to the folder."""
    return all(sizes.get(name) == file.bytes for name, file in manifest.files.items())


def first_changed_file(manifest: Manifest, folder: Path) -> Optional[str]:
    """Return the first file whose content is not what was written, or None. It reads every file once."""
    changed = (name for name, file in manifest.files.items() if file_sha256(folder / name) != file.sha256)
    return next(changed, None)


def sha256(content: bytes) -> str:
    """Return the sha256 of bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class StoredFolder:
    """A whole folder. `path` is relative to the run's folder, and `sha256` is that of its manifest."""

    path: str
    manifest: Manifest
    sha256: str


@dataclass(frozen=True)
class OpenedFolder:
    """A whole folder whose content was verified, and the local folder where it can be read for now."""

    stored: StoredFolder
    local: Path


def find_stored_folder(storage: Storage, run: str, path: str) -> Optional[StoredFolder]:
    """Return the folder at `path` in a run's folder if all its files have their size, else None.

    `run` is the name of the run's folder. The folder may have been written by another run of that name.
    """
    content = storage.read_bytes(f"{run}/{path}/{NAME}")
    found = parse_manifest(content) if content is not None else None
    if content is None or found is None:
        return None
    if not sizes_match(found, storage.sizes(f"{run}/{path}")):
        return None
    return StoredFolder(path, found, sha256(content))
