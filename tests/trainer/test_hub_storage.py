"""A Hub that fails says nothing about what is in a repository."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from whisper_finetune_trainer.output import hub_storage
from whisper_finetune_trainer.output.hub_storage import HubStorage
from whisper_finetune_trainer.output.uploads import Uploads
from whisper_finetune_trainer.stores import object_store

REPOSITORY = "team/whisper-it"


@pytest.fixture
def storage(tmp_path: Path) -> HubStorage:
    store = object_store.open_store(f"hf://{REPOSITORY}", "output.uri")
    return HubStorage(store, REPOSITORY, "it-12345678", tmp_path, kept_models=1, uploads=Uploads())


def answer_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(hub_storage, "hf_hub_download", fail)


def test_a_hub_that_cannot_be_asked_does_not_mean_an_unfinished_run(
    storage: HubStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(LocalEntryNotFoundError("the Hub is away for a moment"), monkeypatch)
    with pytest.raises(LocalEntryNotFoundError):
        storage.read_bytes("it-12345678/result.json")


def test_a_file_that_is_not_there_is_none(storage: HubStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(EntryNotFoundError("404"), monkeypatch)
    assert storage.read_bytes("it-12345678/result.json") is None
