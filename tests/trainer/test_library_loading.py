"""Tests that libraries are loaded without looking for garbage, and that it is looked for afterwards."""

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from whisper_finetune_trainer.machine import library_loading

LIBRARY = "a_large_library"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    frozen = gc.get_freeze_count()
    yield
    gc.enable()
    if not frozen:
        gc.unfreeze()


@pytest.fixture
def write_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    monkeypatch.syspath_prepend(tmp_path)
    yield (tmp_path / f"{LIBRARY}.py").write_text
    sys.modules.pop(LIBRARY, None)


def test_no_garbage_is_looked_for_while_it_is_loaded_and_is_afterwards(write_library: Callable[[str], None]) -> None:
    write_library("import gc\nENABLED = gc.isenabled()")
    assert library_loading.load_module(LIBRARY).ENABLED is False
    assert gc.isenabled()


def test_it_is_looked_for_again_where_a_library_cannot_be_loaded(write_library: Callable[[str], None]) -> None:
    write_library("raise ImportError('libtorch')")
    with pytest.raises(ImportError, match="libtorch"):
        library_loading.load_module(LIBRARY)
    assert gc.isenabled()


def test_who_had_switched_it_off_finds_it_off(write_library: Callable[[str], None]) -> None:
    write_library("")
    gc.disable()
    library_loading.load_module(LIBRARY)
    assert not gc.isenabled()


def test_what_a_library_made_is_never_looked_through(write_library: Callable[[str], None]) -> None:
    write_library("MADE = [[] for _ in range(10_000)]")
    made = library_loading.load_module(LIBRARY).MADE
    looked_through = {id(each) for each in gc.get_objects()}
    assert not any(id(each) in looked_through for each in made)


def test_what_was_garbage_before_does_not_stay(write_library: Callable[[str], None]) -> None:
    class Large:
        def __init__(self) -> None:
            self.itself = self

    write_library("")
    gc.disable()
    garbage = weakref.ref(Large())
    assert garbage() is not None
    library_loading.load_module(LIBRARY)
    assert garbage() is None


def test_what_is_loaded_is_returned_and_nothing_else_happens(write_library: Callable[[str], None]) -> None:
    write_library("")
    module = library_loading.load_module(LIBRARY)
    made = [[] for _ in range(10)]
    assert library_loading.load_module(LIBRARY) is module
    looked_through = {id(each) for each in gc.get_objects()}
    assert all(id(each) in looked_through for each in made)
