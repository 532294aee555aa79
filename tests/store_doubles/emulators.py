"""Google's and Microsoft's object stores as their emulators have them: fake-gcs-server, and Microsoft's own Azurite."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.folders import cache_root
from cluster.host.locks import exclusive
from cluster.narration import step
from cluster.programs import binaries, debian_packages
from object_store.server_process import free_port, running

_HERE = Path(__file__).parent
_GCS = binaries.GoModule(
    _HERE / "go-fake-gcs-server",
    "github.com/fsouza/fake-gcs-server",
    {"fake-gcs-server": "github.com/fsouza/fake-gcs-server"},
    minutes=2,
)
#: Azurite's own account and key, the same for everybody.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Emulator:
    """A running store without any bucket."""

    scheme: str
    #: What a Secret, and the way to the emulator, are for a trainer.
    environment: dict[str, str] = field(repr=False)


@contextlib.contextmanager
def gcs(folder: Path) -> Iterator[Emulator]:
    """Serve Google Cloud Storage; it knows no credentials."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    program = binaries.compiled(_GCS) / "fake-gcs-server"
    command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    command += ["-external-url", endpoint, "-public-host", f"127.0.0.1:{port}"]
    with running(command, "127.0.0.1", port, folder / "gcs.log"):
        # Without credentials the library would look for zonal buckets, in vain and loudly.
        yield Emulator("gs", {"STORAGE_EMULATOR_HOST": endpoint, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"})


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[Emulator]:
    """Serve Azure's blobs; the key is looked at."""
    port = free_port()
    command = [_azurite(), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    with running(command, "127.0.0.1", port, folder / "azurite.log"):
        yield Emulator("az", {"AZURE_STORAGE_CONNECTION_STRING": connection(port, KEY)})


def connection(port: int, key: str) -> str:
    """Return what adlfs is told of an Azurite."""
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={endpoint};"


def _azurite() -> Path:
    """Return the program, installed first from its lock where it is not in the cache."""
    debian_packages.install_missing({"node": "nodejs", "npm": "npm"})
    package, lock = _HERE / "npm-azurite" / "package.json", _HERE / "npm-azurite" / "package-lock.json"
    digest = hashlib.sha256(package.read_bytes() + lock.read_bytes()).hexdigest()[:12]
    folder = cache_root() / "bin" / f"azurite-{digest}"
    program, unfinished = folder / "node_modules" / ".bin" / "azurite-blob", folder / "unfinished"
    with exclusive(folder / "lock", "installing Azurite"):
        if unfinished.exists() or not program.exists():
            unfinished.touch()
            shutil.copy(package, folder)
            shutil.copy(lock, folder)
            with step("installing Azurite (20 s)"):
                command = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional"]
                subprocess.run(command, cwd=folder, check=True)
            unfinished.unlink()
    return program
