"""Google's and Microsoft's object stores as their emulators have them: fake-gcs-server, and Microsoft's own Azurite."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster import binaries, debian_packages
from cluster.folders import cache_root
from cluster.locks import exclusive
from cluster.narration import step

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
_START_SECONDS = 60


@dataclass(frozen=True)
class Emulator:
    """A running store without any bucket."""

    scheme: str
    #: What a Secret, and the way to the emulator, are for a trainer.
    environment: dict[str, str] = field(repr=False)


@contextlib.contextmanager
def gcs(folder: Path) -> Iterator[Emulator]:
    """Serve Google Cloud Storage; it knows no credentials."""
    port = _free_port()
    endpoint = f"http://127.0.0.1:{port}"
    program = binaries.compiled(_GCS) / "fake-gcs-server"
    command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    with _running([*command, "-external-url", endpoint, "-public-host", f"127.0.0.1:{port}"], port, folder):
        # Without credentials the library would look for zonal buckets, in vain and loudly.
        yield Emulator("gs", {"STORAGE_EMULATOR_HOST": endpoint, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"})


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[Emulator]:
    """Serve Azure's blobs; the key is looked at."""
    port = _free_port()
    command = [_azurite(), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    with _running([*command, "--skipApiVersionCheck", "--disableTelemetry"], port, folder):
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


@contextlib.contextmanager
def _running(command: Sequence[str | Path], port: int, folder: Path) -> Iterator[None]:
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            _wait_for(process, port)
            yield
        finally:
            process.terminate()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, "the emulator has ended: see emulator.log"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the emulator does not answer: see emulator.log"
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
