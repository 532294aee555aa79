"""A real S3 server for tests and the demo: versitygw, compiled once from its Go module, with objects in a folder."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import s3fs

from cluster.programs import binaries
from object_store.server_process import free_port, running

PROGRAM = binaries.GoModule(
    Path(__file__).parent / "go-versitygw",
    "github.com/versity/versitygw",
    {"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
    minutes=2,
)


@dataclass(frozen=True)
class ObjectStore:
    """A running server, and the keys to it."""

    endpoint: str
    access_key: str
    secret_key: str
    #: The server's folder, with one folder per bucket and one file per object.
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that a Secret would set for a trainer."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def filesystem(self) -> Any:
        """Return an fsspec filesystem of the store with all rights."""
        return s3fs.S3FileSystem(
            key=self.access_key,
            secret=self.secret_key,
            endpoint_url=self.endpoint,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def names(self, path: str) -> list[str]:
        """Return the path of every object below `bucket/path`, relative to it."""
        return sorted(name.removeprefix(f"{path}/") for name in self.filesystem.find(path))

    def behind(self, endpoint: str) -> ObjectStore:
        """Return the same store with another endpoint."""
        return replace(self, endpoint=endpoint)

    def make_user(self) -> ObjectStore:
        """Return the store with the keys of a new user, who may do what a bucket's policy allows."""
        user = replace(self, access_key=f"user-{secrets.token_hex(4)}", secret_key=secrets.token_hex(16))
        command: list[str | Path] = [binaries.compiled(PROGRAM) / "versitygw", "admin", "--endpoint-url", self.endpoint]
        command += ["--access", self.access_key, "--secret", self.secret_key, "create-user"]
        command += ["--access", user.access_key, "--secret", user.secret_key, "--role", "user"]
        subprocess.run(command, check=True, capture_output=True)
        return user


def objects_of(folder: Path) -> Path:
    """Return where a server with that folder keeps its objects: one folder per bucket, one file per object."""
    return folder / "objects"


@contextlib.contextmanager
def serving(folder: Path, disk: Path | None = None, host: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """Serve on a free port of an address of this machine. Objects are below `disk`, or below `folder` without one."""
    program = binaries.compiled(PROGRAM) / "versitygw"
    port = free_port(host)
    store = ObjectStore(
        endpoint=f"http://{host}:{port}",
        access_key=f"test-{secrets.token_hex(4)}",
        secret_key=secrets.token_hex(16),
        folder=disk or objects_of(folder),
    )
    for made in (store.folder, folder / "attributes", folder / "users"):
        made.mkdir(parents=True, exist_ok=True)
    # Attributes go into files of their own, because not every file system of a test has extended attributes.
    command: list[str | Path] = [program, "--port", store.endpoint.removeprefix("http://")]
    command += ["--iam-dir", folder / "users", "--iam-cache-disable"]
    command += ["posix", "--sidecar", folder / "attributes", store.folder]
    keys = {"ROOT_ACCESS_KEY": store.access_key, "ROOT_SECRET_KEY": store.secret_key}
    with running(command, host, port, folder / "versitygw.log", keys):
        yield store
