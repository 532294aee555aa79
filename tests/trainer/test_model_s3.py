"""Models in a bucket of a real S3 server: which files are fetched, and why one cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import model_loading
import tiny_whisper
import trainer_configs
from object_store import versitygw
from object_store.versitygw import ObjectStore
from store_doubles import fault_proxy
from store_doubles.fault_proxy import FaultProxy
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    folder = tmp_path_factory.mktemp("model")
    tiny_whisper.build(folder / "tiny")
    (folder / "tiny/pytorch_model.bin").write_bytes(b"pickled")
    (folder / "tiny/flax_model.msgpack").write_bytes(b"of another library")
    with versitygw.serving(folder / "store") as store:
        store.filesystem.mkdir("models")
        store.filesystem.put(str(folder / "tiny"), "models/whisper", recursive=True)
        store.filesystem.pipe("models/notes/todo.txt", b"?")
        yield store


@pytest.fixture
def proxy(served: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Return what stands before the store, whose keys are in this process's environment."""
    with fault_proxy.before(served.endpoint) as made:
        for name, value in served.behind(made.endpoint).environment.items():
            monkeypatch.setenv(name, value)
        yield made


def load(scratch: Path, **changes: Any) -> model.LoadedModel:
    return model_loading.load_model(trainer_configs.config_on(scratch, {"model": "s3://models/whisper", **changes}))


def refusal(scratch: Path, **changes: Any) -> TrainerError:
    with pytest.raises(TrainerError) as raised:
        load(scratch, **changes)
    return raised.value


def test_only_what_is_needed_is_fetched_and_nothing_stays(proxy: FaultProxy, tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded.network.config.model_type == "whisper"
    fetched = {request.path.rsplit("/", 1)[1] for request in proxy.requests if request.method == "GET"}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= fetched
    assert not fetched & {"pytorch_model.bin", "flax_model.msgpack"}
    assert list(tmp_path.iterdir()) == []


def test_a_cut_connection_is_taken_up_again(proxy: FaultProxy, tmp_path: Path) -> None:
    busy = proxy.refuse(lambda request: "model.safetensors" in request.path, 503, "SlowDown", times=2)
    assert load(tmp_path).network.config.model_type == "whisper"
    assert busy.seen == 2


def test_a_revision_is_for_the_hub(proxy: FaultProxy, tmp_path: Path) -> None:
    error = refusal(tmp_path, modelRevision="main")
    assert (error.reason, error.message) == (
        "ConfigInvalid",
        "modelRevision is for models of the Hub, and model is s3://models/whisper",
    )


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://models/wisper", "there is nothing at s3://models/wisper"),
        ("s3://modles/whisper", "bucket modles of s3://modles/whisper does not exist"),
        ("s3://models/notes", "there is no model at s3://models/notes; it holds todo.txt"),
    ],
)
def test_a_model_that_is_not_there(proxy: FaultProxy, tmp_path: Path, address: str, words: str) -> None:
    error = refusal(tmp_path, model=address)
    assert error.reason == "ModelNotFound"
    assert words in error.message


def test_wrong_keys_are_denied(proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    error = refusal(tmp_path)
    assert error.reason == "AccessDenied"
    assert error.message.startswith("model: the store refuses the credentials for s3://models/whisper")
