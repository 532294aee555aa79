"""The demo's data on a volume of the cluster: a folder of the node, a PersistentVolume and a claim on it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo.folders import DemoFolders
from demo.input import recipe

CLAIM = "speech"
RUNS = "runs"
SIZE = {"storage": "20Gi"}
#: The trainer runs as a user of its own, and the node's folder belongs to root.
WRITABLE_BY_ALL = 0o777


def fill(folders: DemoFolders, volume: Path) -> None:
    """Copy the files that are not on the volume yet or have changed, and make the folder that runs write to."""
    for made in (folders.model, folders.speech):
        version = (made / recipe.MARK).read_text()
        target = volume / made.relative_to(folders.root)
        if not recipe.is_made(target, version):
            with recipe.making(target, version) as unfinished:
                shutil.copytree(made, unfinished, dirs_exist_ok=True)
    shutil.copy(folders.licences, volume)
    make_runs_folder(volume)


def make_runs_folder(volume: Path) -> None:
    """Make the folder that runs write to."""
    (volume / RUNS).mkdir(exist_ok=True)
    (volume / RUNS).chmod(WRITABLE_BY_ALL)


def forget_runs(volume: Path, name: str) -> None:
    """Remove what earlier runs of that name wrote. Each has a model of 290 MB and more."""
    for folder in (volume / RUNS).glob(f"{name}-*"):
        shutil.rmtree(folder)


def manifests(volume: Path, namespace: str) -> Iterator[dict[str, Any]]:
    """Yield the PersistentVolume and the claim that is bound to it from the start."""
    name = f"{namespace}-{CLAIM}"
    terms = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    yield {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            **terms,
            "capacity": SIZE,
            "claimRef": {"namespace": namespace, "name": CLAIM},
            "hostPath": {"path": str(volume), "type": "Directory"},
        },
    }
    yield {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": namespace},
        "spec": {**terms, "volumeName": name, "resources": {"requests": SIZE}},
    }


def folder_of(uri: str, volume: Path) -> Path:
    """Return the path on this machine of an address on the claim, or in the bucket of the same name."""
    return volume / uri.split("://", 1)[-1].removeprefix(f"{CLAIM}/")
