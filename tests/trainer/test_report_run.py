"""The report of whole runs with a tiny model: beside the model, over all attempts, and TensorBoard's events."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

import tiny_whisper
import tones
from trainer_attempts import Volume
from whisper_finetune_trainer.progress.progress import Snapshot

pytestmark = pytest.mark.slow

EVENTS = "tensorboard/events.out.tfevents.run"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    tiny_whisper.build(folder / "model")
    tones.write_clips(folder / "clips", 20)
    tones.write_clips(folder / "clips", 20, name="validation")
    return folder


def events(path: Path) -> Iterator[Event]:
    """Yield the records of an event file: eight bytes of length, four of a checksum, the record, four again."""
    content = path.read_bytes()
    while content:
        length = int.from_bytes(content[:8], "little")
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def scalars(path: Path, tag: str) -> dict[int, float]:
    return {
        event.step: value.simple_value for event in events(path) for value in event.summary.value if value.tag == tag
    }


def ending_at(step: int, end: Callable[[], None]) -> Callable[[Snapshot], None]:
    done: list[int] = []

    def listen(snapshot: Snapshot) -> None:
        progress = snapshot.report.progress
        if progress and progress.step == step and progress.loss and not done:
            done.append(step)
            end()

    return listen


def crash() -> None:
    raise RuntimeError("as if it were killed")


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_has_its_report(speech: Path, tmp_path: Path) -> None:
    volume = Volume(speech, tmp_path)
    ended = volume.attempt(volume.config(steps=120, evalEverySteps=40))
    assert ended.result.report == "report.html"
    assert volume.json("result.json")["report"] == "report.html"
    page = (volume.run / "report.html").read_text(encoding="utf-8")
    assert ended.result.baseline is not None
    assert ended.result.result is not None
    assert ended.result.baseline.normalized_wer in page
    assert ended.result.result.normalized_wer in page
    # Texts were learnt, so clips gained, and their sound is there.
    assert re.search(r'<audio [^>]*src="data:audio/mpeg;base64,[A-Za-z0-9+/=]{1000,}"', page)
    assert re.search(r"<b>[1-4]</b> have fewer errors", page)
    assert page.count('<circle class="mark ') == 3


def test_a_finished_run_that_is_only_reported_names_its_report(speech: Path, tmp_path: Path) -> None:
    volume = Volume(speech, tmp_path)
    config = volume.config(steps=2)
    first = volume.attempt(config)
    assert volume.attempt(config).result.report == first.result.report == "report.html"


def test_tensorboard_has_the_same_curves(speech: Path, tmp_path: Path) -> None:
    volume = Volume(speech, tmp_path)
    ended = volume.attempt(volume.config(steps=4, evalEverySteps=2))
    assert ended.exit_code == 0, ended.result.message
    assert ended.result.progress is not None
    losses = scalars(volume.run / EVENTS, "train/loss")
    assert list(losses) == [1, 2, 3, 4]
    assert f"{losses[4]:.4f}" == ended.result.progress.loss
    assert list(scalars(volume.run / EVENTS, "train/learning_rate")) == [1, 2, 3, 4]
    rates = scalars(volume.run / EVENTS, "validation/normalized_wer")
    assert ended.result.baseline is not None
    assert list(rates) == [0, 2, 4]
    assert f"{rates[0]:.2f}" == ended.result.baseline.normalized_wer
    times = [event.wall_time for event in events(volume.run / EVENTS) if event.step]
    assert max(times) - min(times) < 600


@pytest.mark.parametrize("end", [stop, crash], ids=["stopped", "killed between two states"])
def test_the_curve_of_a_resumed_run_is_that_of_one_that_was_never_stopped(
    speech: Path, tmp_path: Path, end: Callable[[], None]
) -> None:
    for name in ("straight", "resumed"):
        (tmp_path / name).mkdir()
    straight, volume = Volume(speech, tmp_path / "straight"), Volume(speech, tmp_path / "resumed")
    assert straight.attempt(straight.config(steps=9, saveEverySteps=3)).exit_code == 0
    config = volume.config(steps=9, saveEverySteps=3)
    assert volume.attempt(config, ending_at(5, end)).exit_code != 0
    assert volume.attempt(config).exit_code == 0

    for tag in ("train/loss", "train/learning_rate"):
        resumed = scalars(volume.run / EVENTS, tag)
        assert list(resumed) == list(range(1, 10))
        assert resumed == scalars(straight.run / EVENTS, tag)
    curve = re.compile(r'<path class="line [^>]*>')
    pages = [(run / "report.html").read_text(encoding="utf-8") for run in (straight.run, volume.run)]
    assert curve.findall(pages[0]) == curve.findall(pages[1])
    assert len(curve.findall(pages[0])) == 4
