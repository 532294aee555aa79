import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from whisper_finetune_trainer.machine import library_loading


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    frozen = gc.get_freeze_count()
    yield
    gc.enable()
    if not frozen:
        gc.unfreeze()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "a_large_library.py").write_text("MADE = [[] for _ in range(10_000)]")
    monkeypatch.syspath_prepend(tmp_path)
    yield "a_large_library"
    sys.modules.pop("a_large_library", None)


def test_no_garbage_is_looked_for_in_the_block_and_is_afterwards() -> None:
    with library_loading.without_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_looked_for_again_where_a_library_cannot_be_loaded() -> None:
    with pytest.raises(ImportError, match="libtorch"), library_loading.without_garbage_collection():
        raise ImportError("libtorch")
    assert gc.isenabled()


def test_who_had_switched_it_off_finds_it_off() -> None:
    gc.disable()
    with library_loading.without_garbage_collection():
        pass
    assert not gc.isenabled()


def test_what_a_library_made_is_never_looked_through(library: str) -> None:
    with library_loading.without_garbage_collection():
        made = __import__(library).MADE
    looked_through = {id(each) for each in gc.get_objects()}
    assert not any(id(each) in looked_through for each in made)


def test_where_nothing_was_loaded_everything_is_looked_through_as_before() -> None:
    with library_loading.without_garbage_collection():
        made = [[] for _ in range(10)]
    looked_through = {id(each) for each in gc.get_objects()}
    assert all(id(each) in looked_through for each in made)
