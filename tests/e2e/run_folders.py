"""What a run has written to the volume: its folder, its checkpoints to resume from, and its model."""

import hashlib
import json
from pathlib import Path
from typing import Any

from e2e.runs import Run, uid_of


def folder_of(volume: Path, run: Run) -> Path:
    """The folder that is this run's alone, `NAME-UID8` below output.uri."""
    return volume / "runs" / f"{run['metadata']['name']}-{uid_of(run)[:8]}"


def resume_steps(folder: Path) -> list[int]:
    """The steps of the whole checkpoints to resume from, oldest first."""
    manifests = folder.glob("resume/checkpoint-*/manifest.json")
    return sorted(int(manifest.parent.name.removeprefix("checkpoint-")) for manifest in manifests)


def whole_model(folder: Path, uid: str) -> dict[str, Any]:
    """The manifest of the final model, checked: it is of that run, and each file is there as it was written."""
    manifest: dict[str, Any] = json.loads((folder / "model" / "manifest.json").read_text())
    assert manifest["uid"] == uid
    written = {file.name for file in (folder / "model").iterdir()} - {"manifest.json"}
    assert written == set(manifest["files"])
    for name, file in manifest["files"].items():
        content = (folder / "model" / name).read_bytes()
        assert (len(content), sha256(content)) == (file["bytes"], file["sha256"]), name
    return manifest


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def modified(folder: Path) -> dict[str, int]:
    """Each file below the folder with the time of its last change."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}
