"""The trainer as a pod runs it, stopped while a store keeps it waiting."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import tiny_whisper
import tones
from object_store import versitygw
from store_doubles import fault_proxy
from store_doubles.fault_proxy import FaultProxy
from trainer_pod import Pod

pytestmark = pytest.mark.slow

#: A store's client tries for much longer: five times, a minute each.
_DEADLINE_SECONDS = 60


class Bucket(NamedTuple):
    """A bucket with 20 clips, the proxy before it, and the variables that lead there."""

    proxy: FaultProxy
    environment: dict[str, str]


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    with versitygw.serving(tmp_path / "store") as store:
        store.filesystem.mkdir("speech")
        tones.write_clips(tmp_path / "clips", 20)
        store.filesystem.put(f"{tmp_path}/clips/", "speech/clips/", recursive=True)
        with fault_proxy.before(store.endpoint) as proxy:
            yield Bucket(proxy, store.behind(proxy.endpoint).environment)


@pytest.fixture
def pod(bucket: Bucket, tmp_path: Path) -> Iterator[Pod]:
    """Return a pod that is not started yet, on the clips in the bucket."""
    tiny_whisper.build(tmp_path / "speech/model")
    spec = {"dataset": {"source": "s3://speech/clips"}}
    made = Pod(tmp_path / "speech", tmp_path, steps=1000, spec=spec, environment=bucket.environment)
    yield made
    made.kill()


def wait_for_standstill(pod: Pod) -> None:
    """Wait until no step is taken any more."""
    step, since = None, time.monotonic()
    while time.monotonic() - since < 3:
        report = pod.until(pod.report)
        assert report.progress is not None
        if report.progress.step != step:
            step, since = report.progress.step, time.monotonic()
        time.sleep(0.1)


def test_a_stop_does_not_wait_for_a_store_that_does_not_answer(bucket: Bucket, pod: Pod) -> None:
    """Neither does the end of the process, whose threads go on waiting."""
    pod.start()
    pod.until(pod.states)
    gate = bucket.proxy.close(lambda request: ".wav" in request.path)
    pod.until(gate.reached.is_set)
    wait_for_standstill(pod)
    try:
        assert pod.send(signal.SIGTERM, _DEADLINE_SECONDS) == 75
    finally:
        gate.drop()
    message = pod.message()
    assert message.message == f"stopped by SIGTERM; the next attempt goes on from resume/checkpoint-{max(pod.states())}"
    assert message.progress is not None
    assert message.progress.step == max(pod.states())


def test_a_stop_does_not_wait_for_a_store_while_the_clips_are_listed(bucket: Bucket, pod: Pod) -> None:
    gate = bucket.proxy.close(lambda request: ".wav" in request.path)
    pod.start()
    pod.until(gate.reached.is_set)
    try:
        assert pod.send(signal.SIGTERM, _DEADLINE_SECONDS) == 75
    finally:
        gate.drop()
    assert pod.message().message == "stopped by SIGTERM before the first checkpoint"
