"""Write an OCI image archive of one layer, without any tool."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MEDIA_TYPE = "application/vnd.oci.image.{}"


def write_image_archive(archive: Path, name: str, files: dict[str, Path], entrypoint: str) -> None:
    """Write the image `name` to `archive`. `files` has the executable file for each path in the image."""
    layer = layer_of(files)
    blobs: list[bytes] = [layer]

    def reference(kind: str, blob: bytes) -> dict[str, Any]:
        blobs.append(blob)
        return {"mediaType": MEDIA_TYPE.format(kind), "digest": digest(blob), "size": len(blob)}

    config = reference("config.v1+json", as_json({
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [entrypoint]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    }))  # fmt: skip
    layers = [reference("layer.v1.tar", layer)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE.format("manifest.v1+json"),
        "config": config,
        "layers": layers,
    }
    named = reference("manifest.v1+json", as_json(manifest)) | {
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    }
    with tarfile.open(archive, "w") as tar:
        add(tar, "oci-layout", as_json({"imageLayoutVersion": "1.0.0"}))
        add(tar, "index.json", as_json({"schemaVersion": 2, "manifests": [named]}))
        for blob in {digest(blob): blob for blob in blobs}.values():
            add(tar, f"blobs/sha256/{digest(blob).removeprefix('sha256:')}", blob)


def layer_of(files: dict[str, Path]) -> bytes:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for path, file in files.items():
            add(tar, path, file.read_bytes(), mode=0o755)
    return layer.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()
