"""Streams from a real S3 server: what is requested, and what a network fault does."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import clip_loading
import shards
import tiny_whisper
from layout_checks import config
from object_store import versitygw
from object_store.versitygw import ObjectStore
from store_doubles import fault_proxy
from store_doubles.fault_proxy import FaultProxy, Gate
from trainer_attempts import Volume
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.data.streams.stream_blocks import Block
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.progress.progress import Snapshot

pytestmark = pytest.mark.slow

CLIPS = 60


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    folder = tmp_path_factory.mktemp("shards")
    with versitygw.serving(tmp_path_factory.mktemp("store")) as store:
        store.filesystem.mkdir("speech")
        shards.write_tars(folder / "tar", CLIPS, 8)
        shards.write_parquets(folder / "parquet", CLIPS, 17)
        store.filesystem.put(f"{folder}/", "speech/", recursive=True)
        yield store


@pytest.fixture
def proxy(bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Return what stands before the bucket, and let every store be opened through it."""
    with fault_proxy.before(bucket.endpoint) as found:
        for name, value in bucket.behind(found.endpoint).environment.items():
            monkeypatch.setenv(name, value)
        yield found


def load(volume: Path, source: str) -> Clips:
    return clip_loading.load_clips(config(volume, f"s3://speech/{source}", maxEvalClips=CLIPS), shards.LIMITS)


def gets(proxy: FaultProxy) -> Counter[str]:
    """Return how often each shard was asked for."""
    paths = (request.path.split("?")[0] for request in proxy.requests if request.method == "GET")
    return Counter(path.rsplit("/", 1)[1] for path in paths if path.endswith((".tar", ".parquet")))


def sounds(blocks: list[Block]) -> dict[str, bytes]:
    return {clip.identifier: decoding.read_content(clip.audio) for block in blocks for clip in block.clips}


@pytest.mark.parametrize(("source", "requests"), [("tar", 1), ("parquet", 3)])
def test_a_shard_is_read_in_one_go(proxy: FaultProxy, tmp_path: Path, source: str, requests: int) -> None:
    clips = load(tmp_path, source)
    stream = shards.stream_of(clips)
    proxy.requests.clear()
    found = sounds(shards.epoch(stream))
    asked = gets(proxy)
    assert len(found) + len(clips.evaluation) == CLIPS
    assert set(asked) == {Path(path).name for path in stream.shards.files.paths}
    # Parquet has its places in its foot. One block more is read ahead, of the epoch that follows.
    assert asked.most_common()[-1][1] <= requests
    assert asked.total() <= requests * (len(asked) + 2 * shards.LIMITS.lanes)


def test_a_connection_that_is_cut_costs_no_clip(proxy: FaultProxy, tmp_path: Path) -> None:
    stream = shards.stream_of(load(tmp_path, "tar"))
    whole = sounds(shards.epoch(stream))
    cut = proxy.cut(lambda request: request.method == "GET" and ".tar" in request.path, times=2)
    assert sounds(shards.epoch(stream)) == whole
    assert cut.seen == 2


def test_a_stop_does_not_wait_for_a_store_that_does_not_answer(proxy: FaultProxy, tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "speech/model", window_seconds=2)
    volume = Volume(tmp_path / "speech", tmp_path)
    spec = {"dataset": {"source": "s3://speech/tar", "evalFraction": "0.1"}}
    gates: list[Gate] = []
    newest_step = time.monotonic()

    def stop_once_nothing_goes_on() -> None:
        gates[0].reached.wait()
        while time.monotonic() - newest_step < 3:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    def close_gates_after_a_step(now: Snapshot) -> None:
        nonlocal newest_step
        newest_step = time.monotonic()
        if now.report.progress and now.report.progress.loss and not gates:
            gates.append(proxy.close(lambda request: ".tar" in request.path))
            threading.Thread(target=stop_once_nothing_goes_on).start()

    ended = volume.attempt(volume.config(spec=spec, steps=200), close_gates_after_a_step, shards.LIMITS)
    gates[0].drop()
    assert ended.exit_code == 75
    assert ended.result.progress is not None
    assert volume.names("resume") == [f"checkpoint-{ended.result.progress.step}"]


def test_clips_of_a_bucket_train_the_same_weights_as_those_of_a_volume(proxy: FaultProxy, tmp_path: Path) -> None:
    """Those of a bucket are read ahead by a thread, and in the same order."""
    tiny_whisper.build(tmp_path / "speech/model", window_seconds=2)
    shards.write_tars(tmp_path / "speech/tar", CLIPS, 8)
    weights = []
    for place in ("pvc", "s3"):
        (tmp_path / place).mkdir()
        volume = Volume(tmp_path / "speech", tmp_path / place)
        spec = {"dataset": {"source": f"{place}://speech/tar", "evalFraction": "0.1"}}
        assert volume.attempt(volume.config(spec=spec, steps=20)).exit_code == 0
        weights.append(volume.weights())
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


def test_a_stop_ends_an_evaluation_that_waits_for_a_store(proxy: FaultProxy, tmp_path: Path) -> None:
    """Of clips that are listed: those that a stream holds out are in memory."""
    tiny_whisper.build(tmp_path / "speech/model", window_seconds=2)
    volume = Volume(tmp_path / "speech", tmp_path)
    spec = {"dataset": {"source": "s3://speech/tar", "evalFraction": "0.1"}}
    gates: list[Gate] = []

    def stop() -> None:
        gates[0].reached.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    def close_gates(now: Snapshot) -> None:
        if now.report.stage == "Evaluating" and not gates:
            gates.append(proxy.close(lambda request: ".tar" in request.path))
            threading.Thread(target=stop, daemon=True).start()

    ended = volume.attempt(volume.config(spec=spec, steps=2), close_gates)
    gates[0].drop()
    assert ended.exit_code == 75


def test_rights_that_end_while_it_is_read_are_named(proxy: FaultProxy, tmp_path: Path) -> None:
    stream = shards.stream_of(load(tmp_path, "tar"))
    proxy.refuse(lambda request: ".tar" in request.path, 403, "AccessDenied")
    with pytest.raises(TrainerError) as refused:
        shards.epoch(stream)
    assert refused.value.reason == "AccessDenied"
