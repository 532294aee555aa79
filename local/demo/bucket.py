"""The demo's data in a bucket of a real S3 server, on an address of this machine that the cluster reaches."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from object_store import versitygw
from object_store.versitygw import ObjectStore

BUCKET = "speech"
SECRET = "speech-store"  # noqa: S105 (its name)


@contextlib.contextmanager
def serving(folder: Path, kubeconfig: Path) -> Iterator[ObjectStore]:
    """Serve the bucket from a folder as long as the context lasts."""
    with versitygw.serving(folder, host=host_for(kubeconfig)) as store:
        if not store.filesystem.exists(BUCKET):
            store.filesystem.mkdir(BUCKET)
        yield store


def folder_of(store_folder: Path) -> Path:
    """Return the folder with the bucket's objects as files. It is below the folder that the bucket is served from."""
    return versitygw.objects_of(store_folder) / BUCKET


def host_for(kubeconfig: Path) -> str:
    """Return this machine's address on the way to the cluster."""
    server = urlsplit(yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent. The system only chooses the interface.
        probe.connect((server.hostname, server.port or 443))
        host: str = probe.getsockname()[0]
    return host


def upload(store: ObjectStore, local: Path) -> None:
    """Upload the files that are not in the bucket yet, or have another size there."""
    filesystem = store.filesystem  # one client for all: making one takes a fifth of a second
    there = {name: entry["size"] for name, entry in filesystem.find(BUCKET, detail=True).items()}
    for path in sorted(path for path in local.rglob("*") if path.is_file()):
        name = f"{BUCKET}/{path.relative_to(local).as_posix()}"
        if there.get(name) != path.stat().st_size:
            filesystem.put_file(str(path), name)


def secret(store: ObjectStore, namespace: str) -> dict[str, Any]:
    """Return the Secret with the keys of the bucket."""
    keys = {name: value for name, value in store.environment.items() if name != "AWS_EC2_METADATA_DISABLED"}
    metadata = {"name": SECRET, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}
