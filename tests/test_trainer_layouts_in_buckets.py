"""Data sets in every layout on a real S3 server, and what is said of what a bucket lacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_layouts import LAYOUTS
from layout_checks import check, load, refusal
from object_store import fault_proxy, versitygw
from object_store.versitygw import ObjectStore
from whisper_finetune_trainer import audio
from whisper_finetune_trainer.errors import TrainerError


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    folder = tmp_path_factory.mktemp("layouts")
    with versitygw.serving(tmp_path_factory.mktemp("store")) as store:
        store.filesystem.mkdir("speech")
        for name, write in LAYOUTS.items():
            write(folder / slug(name))
        store.filesystem.put(f"{folder}/", "speech/", recursive=True)
        yield store


@pytest.fixture
def keys(bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return bucket


def slug(name: str) -> str:
    return name.lower().replace(",", "").replace(" ", "-")


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_in_a_bucket(keys: ObjectStore, tmp_path: Path, name: str) -> None:
    check(load(tmp_path, f"s3://speech/{slug(name)}"))


def test_a_manifest_in_a_bucket_may_be_named_itself(keys: ObjectStore, tmp_path: Path) -> None:
    check(load(tmp_path, "s3://speech/nemo/train_manifest.json"))


BUCKETS = {
    "no bucket": ("s3://nowhere/clips", "DatasetNotFound", "bucket nowhere of s3://nowhere/clips does not exist"),
    "no folder": ("s3://speech/nothing", "DatasetNotFound", "there is nothing at s3://speech/nothing"),
    "no split": ("s3://speech/webdataset", "DatasetNotFound", "s3://speech/webdataset has the splits train"),
}


@pytest.mark.parametrize(("source", "reason", "says"), BUCKETS.values(), ids=BUCKETS)
def test_what_a_bucket_lacks(keys: ObjectStore, tmp_path: Path, source: str, reason: str, says: str) -> None:
    error = refusal(tmp_path, source, evalSplit="dev")
    assert (error.reason, says in error.message) == (reason, True), error.message


def test_wrong_keys(keys: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert refusal(tmp_path, "s3://speech/kaldi").reason == "AccessDenied"


def test_a_store_that_is_busy_is_asked_again(
    bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy.before(bucket.endpoint) as proxy:
        for name, value in bucket.behind(proxy.endpoint).environment.items():
            monkeypatch.setenv(name, value)
        busy = proxy.refuse(lambda request: ".wav" in request.path, 503, "SlowDown", times=3)
        check(load(tmp_path, "s3://speech/nemo"))
    assert busy.seen == 3


def test_rights_that_end_while_training_are_named(
    bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy.before(bucket.endpoint) as proxy:
        for name, value in bucket.behind(proxy.endpoint).environment.items():
            monkeypatch.setenv(name, value)
        found = load(tmp_path, "s3://speech/nemo")
        proxy.refuse(lambda request: ".wav" in request.path, 403, "AccessDenied")
        with pytest.raises(TrainerError) as caught:
            audio.read(found.train[0].audio)
        assert caught.value.reason == "AccessDenied"
        assert refusal(tmp_path, "s3://speech/nemo").reason == "AccessDenied"
