"""The operator begins with a garbage collector that leaves alone what it imported, and looks rarely at the rest."""

import asyncio
import gc
import json
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from operator_process import RUNTIMES
from whisper_finetune_operator import __main__ as program


@pytest.fixture
def thresholds() -> Iterator[tuple[int, int, int]]:
    """Return the thresholds of this process, which it gets back."""
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)
    gc.unfreeze()


def test_collector_while_the_operator_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, thresholds: tuple[int, int, int]
) -> None:
    seen: list[tuple[tuple[int, int, int], int]] = []

    def run(operator: Coroutine[Any, Any, None]) -> None:
        operator.close()
        seen.append((gc.get_threshold(), gc.get_freeze_count()))

    monkeypatch.setattr(asyncio, "run", run)
    monkeypatch.setattr(program.logs, "write_json_lines", lambda _: None)
    cluster = {"name": "local", "cluster": {"server": "https://127.0.0.1:1"}}
    config = {
        "clusters": [cluster],
        "users": [{"name": "admin", "user": {"token": "secret"}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "admin"}}],
        "current-context": "local",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "runtimes.yaml").write_text(RUNTIMES, encoding="utf-8")
    arguments = ["--runtimes", str(tmp_path / "runtimes.yaml"), "--kubeconfig", str(tmp_path / "kubeconfig")]
    assert program.main(arguments, {}) == 0
    ((chosen, frozen),) = seen
    assert chosen == program.COLLECTION_THRESHOLDS
    assert all(ours >= pythons for ours, pythons in zip(chosen, thresholds, strict=True))
    assert frozen > 10_000
