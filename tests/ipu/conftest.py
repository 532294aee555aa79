"""Every test here has an emulated partition of its own, so IPUs that an earlier test left attached do not matter."""

import gc
from pathlib import Path
from typing import Generator

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Generator[None, None, None]:
    """What is imported and collected stays: no garbage is looked for meanwhile, nor among it afterwards."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _partition_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "ipus-in-use"
    folder.mkdir()
    monkeypatch.setenv("POPTORCH_EMU_IN_USE_FOLDER", str(folder))
    monkeypatch.delenv("POPTORCH_WAIT_FOR_IPU", raising=False)
    monkeypatch.delenv("POPTORCH_CACHE_DIR", raising=False)
