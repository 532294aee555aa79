"""A run's output on gs:// and az://: both libraries with an emulation of Google's store and Microsoft's Azurite."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import locked_environment
from locked_environment import ROOT
from store_doubles import emulators
from store_doubles.emulators import Emulator
from stored_run import NAME, STATE_BYTES

pytestmark = pytest.mark.slow
BUCKET = "models"
MAKE_BUCKET = "import fsspec, sys; fsspec.filesystem(sys.argv[1]).mkdir(sys.argv[2])"
LIST = "import fsspec, json, sys; print(json.dumps(sorted(fsspec.filesystem(sys.argv[1]).find(sys.argv[2]))))"
DAMAGE = "import fsspec, sys; fsspec.filesystem(sys.argv[1]).pipe_file(sys.argv[2], b'x' * 10)"


@pytest.fixture(scope="module")
def python() -> Path:
    """Return the Python that has both libraries; it has no torch."""
    return locked_environment.python_of("stores")


@pytest.fixture(scope="module", params=["gs", "az"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, python: Path) -> Iterator[Emulator]:
    """Return a store with an empty bucket, of which one test alone writes into it."""
    with {"gs": emulators.gcs, "az": emulators.azure}[request.param](tmp_path_factory.mktemp("store")) as running:
        told(python, running, "-c", MAKE_BUCKET, running.scheme, BUCKET)
        yield running


def told(python: Path, store: Emulator, *arguments: str | Path) -> str:
    paths = os.pathsep.join(str(ROOT / part) for part in ("crds", "trainer", "tests", "tests/trainer"))
    environment = {**os.environ, **store.environment, "PYTHONPATH": paths}
    ran = subprocess.run([python, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def run(python: Path, store: Emulator, verb: str, scratch: Path, bucket: str = BUCKET) -> Any:
    address = f"{store.scheme}://{bucket}/it"
    return json.loads(told(python, store, ROOT / "tests" / "trainer" / "stored_run.py", verb, address, scratch))


def names(python: Path, store: Emulator) -> list[str]:
    found = json.loads(told(python, store, "-c", LIST, store.scheme, BUCKET))
    return [name.removeprefix(f"{BUCKET}/") for name in found]


def test_a_later_attempt_goes_on_from_the_newest_whole_state(store: Emulator, python: Path, tmp_path: Path) -> None:
    assert run(python, store, "write", tmp_path) is None
    states = f"it/{NAME}/resume"
    assert names(python, store) == [
        *(f"{states}/checkpoint-{step}/{file}" for step in (2, 3) for file in ("manifest.json", "state.bin")),
        "it/latest.json",
    ]
    latest = {"step": 3, "before": None}
    newest = {"state": "resume/checkpoint-3", "bytes": STATE_BYTES, "step": 3, "latest": latest}
    assert run(python, store, "resume", tmp_path) == newest

    told(python, store, "-c", DAMAGE, store.scheme, f"{BUCKET}/{states}/checkpoint-3/state.bin")
    assert run(python, store, "resume", tmp_path) == {**newest, "state": "resume/checkpoint-2", "step": 2}


def test_a_bucket_that_is_not_there_is_named(store: Emulator, python: Path, tmp_path: Path) -> None:
    refused = run(python, store, "write", tmp_path, bucket="missing")
    assert refused["reason"] == "OutputNotWritable"
    assert "missing" in refused["message"]


@pytest.mark.parametrize("store", ["az"], indirect=True)
def test_a_wrong_key_is_refused(store: Emulator, python: Path, tmp_path: Path) -> None:
    right = store.environment["AZURE_STORAGE_CONNECTION_STRING"]
    wrong = Emulator("az", {"AZURE_STORAGE_CONNECTION_STRING": right.replace("Eby8", "Eby9")})
    refused = run(python, wrong, "write", tmp_path)
    # Azure says AuthenticationFailed here, which is AccessDenied; Azurite says that the key has no right.
    assert refused["reason"] == "OutputNotWritable"
    assert "have no right to az://models/it (AuthorizationFailure)" in refused["message"]
    assert "AZURE_STORAGE" in refused["message"]
