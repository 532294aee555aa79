"""Data sets in every layout, on a volume and on a real S3 server, and what is said where one is broken."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data_layouts
import tiny_whisper
from data_layouts import LAYOUTS, SPOKEN
from object_store import fault_proxy, versitygw
from object_store.versitygw import ObjectStore
from whisper_finetune_trainer import audio, dataset
from whisper_finetune_trainer.audio_places import Cell, Member
from whisper_finetune_trainer.clips import Clip, Clips
from whisper_finetune_trainer.errors import TrainerError

Layout = Callable[[Path], None]


def load(volume: Path, source: str = "pvc://speech/clips", **changes: Any) -> Clips:
    fields = {"source": source, **changes}
    return dataset.load_clips(tiny_whisper.config(volume, {f"dataset.{name}": fields[name] for name in fields}))


def refusal(volume: Path, source: str = "pvc://speech/clips", **changes: Any) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        load(volume, source, **changes)
    return caught.value


def check(found: Clips) -> None:
    """Compare every clip with what was written: text, length and sound."""
    every = [*found.train, *found.evaluation]
    assert sorted(clip.text for clip in every) == sorted(SPOKEN.values())
    assert dict(found.dropped) == {}
    assert len({clip.identifier for clip in every}) == len(every)
    for clip in every:
        _check_sound(clip)


def _check_sound(clip: Clip) -> None:
    name = next(name for name, text in SPOKEN.items() if text == clip.text)
    written, read = data_layouts.samples(name), audio.read(clip.audio)
    # MP3 pads: 26 ms at both ends, and is not the same to the last bit.
    assert clip.seconds == pytest.approx(data_layouts.seconds(name), abs=0.08)
    assert len(read) == pytest.approx(len(written), abs=1_300)
    assert np.argmax(np.abs(np.fft.rfft(read, 16_000))) == pytest.approx(
        np.argmax(np.abs(np.fft.rfft(written, 16_000))), abs=2
    )


@pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts_on_a_volume(tmp_path: Path, write: Layout) -> None:
    write(tmp_path / "clips")
    check(load(tmp_path))


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


def test_sounds_of_parquet_are_unpacked_as_far_as_there_is_room(tmp_path: Path) -> None:
    data_layouts.parquet_of_the_hub(tmp_path / "clips")
    size = len(data_layouts.encoded("clip-00"))
    base = tiny_whisper.config(tmp_path, {})
    # Half of the scratch space is for sounds.
    found = dataset.load_clips(base.model_copy(update={"scratch_limit_bytes": 2 * 4 * size}))
    places = [type(clip.audio) for clip in (*found.train, *found.evaluation)]
    assert set(places) == {Member, Cell}
    assert 0 < found.scratch_bytes <= 4 * size
    check(found)


BROKEN: dict[str, tuple[dict[str, bytes], str, str]] = {
    "pipe": (
        {"wav.scp": b"u1 sox a.sph -t wav - |\n", "text": b"u1 uno\n"},
        "DatasetInvalid",
        "wav.scp line 1: u1 is the output of a command (sox a.sph -t wav - |), and commands from a data set are never",
    ),
    "no texts": ({"wav.scp": b"u1 a.wav\n"}, "DatasetInvalid", "text with its texts is missing"),
    "segments": (
        {"wav.scp": b"u1 a.wav\n", "text": b"u1 uno\n", "segments": b"u1 r1 0 1\n"},
        "DatasetInvalid",
        "utterances are parts of longer recordings",
    ),
    "no tar": ({"train-0.tar": b"this is no tar file" * 100}, "DatasetInvalid", "train-0.tar is no whole plain tar"),
    "no Parquet": ({"train.parquet": b"PAR1 this is none PAR1"}, "DatasetInvalid", "is no whole Parquet file"),
    "not a table": ({"train.csv": b'audio,text\n"a.wav,uno' + b"x" * 200_000}, "DatasetInvalid", "is not a table"),
}


@pytest.mark.parametrize(("files", "reason", "says"), BROKEN.values(), ids=BROKEN)
def test_what_is_said_of_broken_layouts(tmp_path: Path, files: dict[str, bytes], reason: str, says: str) -> None:
    (tmp_path / "clips").mkdir()
    for name, content in files.items():
        (tmp_path / "clips" / name).write_bytes(content)
    error = refusal(tmp_path)
    assert (error.reason, says in error.message) == (reason, True), error.message


def test_a_pipe_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/wav.scp").write_text(f"u1 touch {tmp_path}/ran |\n", encoding="utf-8")
    (tmp_path / "clips/text").write_text("u1 uno\n", encoding="utf-8")
    refusal(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_member_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    data_layouts.webdataset_json(tmp_path / "clips")
    (tmp_path / "secret.wav").write_bytes(data_layouts.encoded("clip-00", "wav"))
    _append_link(tmp_path / "clips/000.tar", "zz.wav", str(tmp_path / "secret.wav"))
    found = load(tmp_path)
    # As if it were not there: as a sound it would be an unreadable one.
    assert (dict(found.dropped), len(found.train)) == ({"broken line": 1}, 8)


def _append_link(path: Path, name: str, target: str) -> None:
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        archive.addfile(entry)
        archive.addfile(tarfile.TarInfo(f"{name[:-4]}.txt"))


def test_a_row_of_a_tar_without_sound_is_counted(tmp_path: Path) -> None:
    data_layouts.webdataset_json(tmp_path / "clips")
    data_layouts.write_tar(tmp_path / "clips/001.tar", [("lost.txt", b"uno")])
    found = load(tmp_path)
    assert dict(found.dropped) == {"broken line": 1}


def test_row_groups_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_layouts.parquet_of_bytes(tmp_path / "clips")
    monkeypatch.setattr("whisper_finetune_trainer.parquet_shards._LARGEST_GROUP_BYTES", 1_000)
    assert "write it again with smaller ones (row_group_size=100" in refusal(tmp_path).message


def test_a_store_that_is_busy_is_asked_again(bucket: ObjectStore, tmp_path: Path, monkeypatch: Any) -> None:
    with fault_proxy.before(bucket.endpoint) as proxy:
        for name, value in bucket.behind(proxy.endpoint).environment.items():
            monkeypatch.setenv(name, value)
        busy = proxy.refuse(lambda request: ".wav" in request.path, 503, "SlowDown", times=3)
        check(load(tmp_path, "s3://speech/nemo"))
    assert busy.seen == 3
