"""Segments of recordings in a store: a recording is fetched once, or read in place where there is no room for it."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import clip_loading
from layout_checks import config
from object_store import versitygw
from object_store.versitygw import ObjectStore
from store_doubles import fault_proxy
from store_doubles.fault_proxy import FaultProxy
from tones import SAMPLE_RATE, tone
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.audio.audio_sources import ByteRange, RecordingSegment, WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.messages.errors import TrainerError

pytestmark = pytest.mark.slow

MINUTES = 10
SEGMENTS = 100
FORMATS = ("wav", "flac", "ogg", "mp3")


def write_talk(folder: Path, suffix: str) -> None:
    """Write a talk of noise, which packs badly, and a hundred segments of it, the last of which begins near its end."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    with soundfile.SoundFile(folder / f"talk.{suffix}", "w", SAMPLE_RATE, 1, format=suffix.upper()) as file:
        for _ in range(MINUTES * 60):
            file.write(noise.normal(0, 0.1, SAMPLE_RATE).astype(np.float32))
    step = MINUTES * 60 / SEGMENTS
    rows = [
        {"audio_filepath": f"talk.{suffix}", "offset": number * step, "duration": 4.0, "text": "uno"}
        for number in range(SEGMENTS)
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / "train_manifest.json").write_text(lines, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("talks")


@pytest.fixture(scope="module")
def bucket(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with versitygw.serving(tmp_path_factory.mktemp("store")) as store:
        store.filesystem.mkdir("speech")
        for suffix in FORMATS:
            write_talk(folder / suffix, suffix)
        store.filesystem.put(f"{folder}/", "speech/", recursive=True)
        yield store


@pytest.fixture
def proxy(bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with fault_proxy.before(bucket.endpoint) as made:
        for name, value in bucket.behind(made.endpoint).environment.items():
            monkeypatch.setenv(name, value)
        yield made


def load(scratch: Path, suffix: str, limit_bytes: int) -> Clips:
    found = config(scratch, f"s3://speech/{suffix}")
    return clip_loading.load_clips(found.model_copy(update={"scratch_limit_bytes": limit_bytes}))


def every(found: Clips) -> list[Clip]:
    return [*found.train.listed, *found.evaluation]


def part_of(clip: Clip) -> RecordingSegment:
    assert isinstance(clip.audio, RecordingSegment)
    return clip.audio


@functools.cache
def whole_talk(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Read the talk as a whole, once for all of its clips."""
    whole: np.ndarray[Any, np.dtype[np.float32]] = soundfile.read(path, dtype="float32")[0]
    return whole


def samples_of(folder: Path, suffix: str, clip: Clip) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return what the talk as a whole has in the place of a clip."""
    part = part_of(clip)
    return whole_talk(folder / suffix / f"talk.{suffix}")[part.start_frame : part.start_frame + part.frames]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_recording_is_fetched_once_whatever_the_number_of_its_clips(
    proxy: FaultProxy, folder: Path, tmp_path: Path, suffix: str
) -> None:
    size = (folder / suffix / f"talk.{suffix}").stat().st_size
    found = load(tmp_path, suffix, 10 * size)
    assert len(every(found)) == SEGMENTS
    assert proxy.sent_bytes < 1.2 * size + 200_000
    assert found.scratch_bytes == size
    before = len(proxy.requests)
    for clip in every(found)[:5]:
        assert isinstance(part_of(clip).recording, ByteRange)
        np.testing.assert_allclose(decoding.read_samples(clip.audio), samples_of(folder, suffix, clip), atol=1e-6)
    assert len(proxy.requests) == before


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix != "mp3"])
def test_without_room_segments_are_sought_in_the_store(
    proxy: FaultProxy, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    size = (folder / suffix / f"talk.{suffix}").stat().st_size
    # No further than the sounds' look, which reads them.
    with caplog.at_level(logging.WARNING):
        found = load(tmp_path, suffix, size - 1)
    assert "1 recordings did not fit into the scratch folder" in caplog.text
    assert found.scratch_bytes == 0
    for clip in every(found)[:3]:
        assert isinstance(part_of(clip).recording, WholeFile)
        before = proxy.sent_bytes
        np.testing.assert_allclose(decoding.read_samples(clip.audio), samples_of(folder, suffix, clip), atol=1e-6)
        assert proxy.sent_bytes - before < size / 2


def test_without_room_a_format_that_is_read_through_is_refused(proxy: FaultProxy, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TrainerError, match=r"s3://speech/mp3/talk.mp3 \(10 minutes\) does not fit into the scratch folder"
    ) as refused:
        load(tmp_path, "mp3", 1_000)
    assert refused.value.reason == "DatasetInvalid"
    assert proxy.sent_bytes < (folder / "mp3/talk.mp3").stat().st_size / 2


def test_without_room_a_short_recording_is_read_through(proxy: FaultProxy, bucket: ObjectStore, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "short.mp3", "w", SAMPLE_RATE, 1, format="MP3") as file:
        for second in range(50):
            file.write(tone(second, 1.0))
    bucket.filesystem.put_file(str(tmp_path / "short.mp3"), "speech/short/short.mp3")
    rows = [
        {"audio_filepath": "short.mp3", "offset": 5.0 * number, "duration": 4.0, "text": "uno"} for number in range(10)
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    bucket.filesystem.pipe_file("speech/short/train_manifest.json", lines.encode())
    found = every(load(tmp_path, "short", 1_000))
    assert (len(found), {type(part_of(clip).recording) for clip in found}) == (10, {WholeFile})


def test_the_header_of_a_recording_is_read_once(proxy: FaultProxy, tmp_path: Path) -> None:
    load(tmp_path, "flac", 100_000_000)
    asked = [request for request in proxy.requests if "talk.flac" in request.path and request.method == "GET"]
    # One of the header, the rest of the content by 4 MB, instead of one for each of a hundred clips.
    assert len(asked) < 20


def test_a_recording_that_is_missing_is_asked_for_once(proxy: FaultProxy, bucket: ObjectStore, tmp_path: Path) -> None:
    names = ["lost.flac" if number % 10 == 0 else "talk.flac" for number in range(SEGMENTS)]
    rows = [
        {"audio_filepath": name, "offset": number, "duration": 1.0, "text": "uno"} for number, name in enumerate(names)
    ]
    bucket.filesystem.cp_file("speech/flac/talk.flac", "speech/lost/talk.flac")
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    bucket.filesystem.pipe_file("speech/lost/train_manifest.json", lines.encode())
    found = load(tmp_path, "lost", 100_000_000)
    assert dict(found.dropped) == {"missing audio file": 10}
    assert len([request for request in proxy.requests if "lost.flac" in request.path]) <= 2


def test_a_recording_that_comes_up_again_is_not_fetched_again(
    proxy: FaultProxy, bucket: ObjectStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows go to and fro between two recordings, and one is remembered at a time."""
    monkeypatch.setattr("whisper_finetune_trainer.data.audio.audio_locator._REMEMBERED", 1)
    rows = [
        {"audio_filepath": f"{number % 2}.ogg", "offset": number, "duration": 4.0, "text": "uno"}
        for number in range(SEGMENTS)
    ]
    for number in range(2):
        bucket.filesystem.cp_file("speech/ogg/talk.ogg", f"speech/two/{number}.ogg")
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    bucket.filesystem.pipe_file("speech/two/train_manifest.json", lines.encode())
    found = load(tmp_path, "two", 100_000_000)
    assert found.scratch_bytes == 2 * (folder / "ogg/talk.ogg").stat().st_size
