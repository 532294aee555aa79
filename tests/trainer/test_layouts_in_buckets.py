"""Data sets in every layout on a real S3 server, and what messages say about what a bucket lacks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

import clip_loading
import data_layouts
from data_layouts import LAYOUTS
from layout_checks import check, config, load, refusal
from object_store import versitygw
from object_store.versitygw import ObjectStore
from store_doubles import fault_proxy
from tones import SAMPLE_RATE, tone
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.audio_locator import AudioLocator, ExtractedAudio
from whisper_finetune_trainer.data.clip_reader import ClipReader, ClipRules
from whisper_finetune_trainer.data.layouts import split_files
from whisper_finetune_trainer.data.layouts.row_columns import ColumnNames
from whisper_finetune_trainer.data.text_rules import TextRules
from whisper_finetune_trainer.messages.errors import TrainerError

pytestmark = pytest.mark.slow


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
            decoding.read_samples(found.train.listed[0].audio)
        assert caught.value.reason == "AccessDenied"
        assert refusal(tmp_path, "s3://speech/nemo").reason == "AccessDenied"


def test_a_token_that_expires_after_it_was_good_is_for_the_next_attempt(
    bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes through as it came; only one that was never good is refused for good."""
    with fault_proxy.before(bucket.endpoint) as proxy:
        for name, value in bucket.behind(proxy.endpoint).environment.items():
            monkeypatch.setenv(name, value)
        found = load(tmp_path, "s3://speech/nemo")
        proxy.refuse(lambda _: True, 400, "ExpiredToken")
        with pytest.raises(PermissionError, match="ExpiredToken"):
            decoding.read_samples(found.train.listed[0].audio)
        with pytest.raises(PermissionError, match="ExpiredToken"):
            load(tmp_path, "s3://speech/nemo")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "of another Secret")
        assert refusal(tmp_path, "s3://speech/nemo").reason == "AccessDenied"


@pytest.mark.parametrize("layout", ["files", "shards"])
def test_the_headers_alone_are_fetched_to_list_clips(
    bucket: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    sound = wav_of_seconds(25)
    write_long(tmp_path / layout, layout, sound)
    bucket.filesystem.put(f"{tmp_path}/{layout}/", f"speech/long-{layout}/", recursive=True)
    with fault_proxy.before(bucket.endpoint) as proxy:
        for name, value in bucket.behind(proxy.endpoint).environment.items():
            monkeypatch.setenv(name, value)
        source = clip_loading.open_source(config(tmp_path, f"s3://speech/long-{layout}"))
        split = split_files.open_split(source.find("train", is_train=True), ColumnNames(("audio",), ("text",)))
        reader = ClipReader(ClipRules(30, TextRules((), str.strip)), AudioLocator(ExtractedAudio(str(tmp_path), 0)))
        found = reader.read_clips(split).clips
        assert [clip.seconds for clip in found] == [25.0] * 4
        listed = proxy.sent_bytes
        assert listed < len(found) * len(sound) / 2
        decoding.read_samples(found[0].audio)
        assert proxy.sent_bytes - listed < 1.2 * len(sound)


def wav_of_seconds(seconds: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(0, seconds), SAMPLE_RATE, format="WAV")
    return file.getvalue()


def write_long(folder: Path, layout: str, sound: bytes) -> None:
    folder.mkdir()
    if layout == "shards":
        members = [
            (f"{place}.{suffix}", content)
            for place in range(4)
            for suffix, content in (("wav", sound), ("txt", b"uno"))
        ]
        data_layouts.write_tar(folder / "train-0.tar", members)
        return
    for place in range(4):
        (folder / f"{place}.wav").write_bytes(sound)
    lines = [json.dumps({"audio": f"{place}.wav", "text": "uno"}) for place in range(4)]
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
