"""The order of a training's steps: where it goes on, and that runs of earlier versions keep their order."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import shards
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.passages import PackingRules
from whisper_finetune_trainer.data.run_clips import ListedClips, StepOrder
from whisper_finetune_trainer.ipu import clip_sampler
from whisper_finetune_trainer.pytorch import train_steps
from whisper_finetune_trainer.pytorch.train_steps import StepSize

if TYPE_CHECKING:
    from whisper_finetune_trainer.data.run_clips import TrainClips
    from whisper_finetune_trainer.data.streams.stream_blocks import Block

SEED = 3
LISTED = ListedClips(
    tuple(Clip(str(number), WholeFile(""), "", 8.0 if number % 3 == 0 else 4.0) for number in range(11)), SEED, "0.1"
)


def by_micro_batches(block: Block) -> list[list[list[str]]]:
    """Return the names of a block's clips as steps of PyTorch have them: four clips, two of them at once."""
    steps = train_steps.divide_into_batches(block, lambda clip: 5 if clip.seconds < 5 else 10, StepSize(4, 2))
    return [[[clip.identifier for clip in batch.clips] for batch in step] for step in steps]


def by_samples(block: Block) -> list[list[str]]:
    """Return the names of a block's clips as steps of IPUs have them."""
    return [[clip.identifier for clip in step] for step in clip_sampler.divide_into_samples(block, 4)]


def first_steps(clips: TrainClips, divide: Any, count: int, after: int = 0) -> list[Any]:
    order: StepOrder[Any] = StepOrder(clips, 4, divide)
    with order.after(after) as steps:
        return [step for step, _ in islice(steps, count)]


#: Written down from the version before: a run that is resumed by this one must take these very steps.
OF_PYTORCH = [
    [["1"], ["10", "8"]],
    [["3", "0"], ["9", "6"]],
    [["5", "4"], ["2", "7"]],
    [["5"], ["1", "2"]],
    [["3", "0"], ["6", "9"]],
    [["4", "10"], ["7", "8"]],
    [["9", "0"], ["3", "6"]],
]
OF_IPUS = [
    ["5", "4", "3", "2"],
    ["0", "7", "9", "1"],
    ["4", "10", "7", "8"],
    ["5", "3", "0", "1"],
    ["9", "2", "4", "8"],
]


@pytest.mark.parametrize(("divide", "expected"), [(by_micro_batches, OF_PYTORCH), (by_samples, OF_IPUS)])
def test_the_order_of_a_list_is_what_it_always_was(divide: Any, expected: list[Any]) -> None:
    assert first_steps(LISTED, divide, len(expected)) == expected


@pytest.mark.parametrize("divide", [by_micro_batches, by_samples])
@pytest.mark.parametrize("step", range(8))
def test_steps_of_a_list_go_on_over_the_epochs_from_any_step(divide: Any, step: int) -> None:
    # Asked out of order, as after a resume, the answer is the same.
    assert first_steps(LISTED, divide, 4, after=step) == first_steps(LISTED, divide, 12)[step : step + 4]


def test_a_list_has_nothing_to_remember() -> None:
    order: StepOrder[Any] = StepOrder(LISTED, 4, by_samples)
    with order.after(0) as steps:
        for _, position in islice(steps, 3):
            order.took(position)
    assert order.state() == {}


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    shards.write_tars(folder / "tar", 60, 8)
    return folder


def stream_of(speech: Path) -> Any:
    return shards.stream_of(shards.load(speech, "tar", training={"seed": SEED}))


@pytest.mark.parametrize("taken", [1, 5, 13])
def test_a_stream_goes_on_from_a_state(speech: Path, taken: int) -> None:
    whole = first_steps(stream_of(speech), by_samples, 20)
    told: list[int] = []
    first: StepOrder[Any] = StepOrder(stream_of(speech), 4, by_samples, on_read=lambda: told.append(1))
    with first.after(0) as steps:
        for _, position in islice(steps, taken):
            first.took(position)
    # Once for each block that steps were taken of.
    assert 1 <= len(told) <= taken
    second: StepOrder[Any] = StepOrder(stream_of(speech), 4, by_samples)
    second.load_state(json.loads(json.dumps(first.state())))
    with second.after(taken) as steps:
        assert [step for step, _ in islice(steps, 4)] == whole[taken : taken + 4]


PACKED = PackingRules("Any", 30, 400, len, 0.5, 0.5)


def packed_batches(block: Block) -> list[Any]:
    return train_steps.divide_into_batches(block, lambda _: 30, StepSize(4, 2), PACKED)


def packed_samples(block: Block) -> list[Any]:
    return clip_sampler.divide_into_samples(block, 4, PACKED)


@pytest.mark.parametrize("divide", [packed_batches, packed_samples])
@pytest.mark.parametrize("taken", [1, 2, 5])
def test_a_packed_stream_goes_on_from_a_state(speech: Path, divide: Any, taken: int) -> None:
    whole = first_steps(stream_of(speech).packed(), divide, 9)
    first: StepOrder[Any] = StepOrder(stream_of(speech).packed(), 4, divide)
    with first.after(0) as steps:
        for _, position in islice(steps, taken):
            first.took(position)
    second: StepOrder[Any] = StepOrder(stream_of(speech).packed(), 4, divide)
    second.load_state(json.loads(json.dumps(first.state())))
    with second.after(taken) as steps:
        assert [step for step, _ in islice(steps, 4)] == whole[taken : taken + 4]


def test_each_block_of_a_packed_stream_has_all_its_clips(speech: Path) -> None:
    for block in shards.epoch(stream_of(speech).packed()):
        for items in (
            [passage for step in packed_batches(block) for batch in step for passage in batch.clips],
            [passage for step in packed_samples(block) for passage in step],
        ):
            taken = [clip.identifier for passage in items for clip in passage.clips]
            assert sorted(taken) == sorted(clip.identifier for clip in block.clips)


def test_the_state_of_a_stream_is_what_it_always_was(speech: Path) -> None:
    order: StepOrder[Any] = StepOrder(stream_of(speech), 4, by_samples)
    with order.after(0) as steps:
        given = list(islice(steps, 4))
    assert [step[0] for step, _ in given] == [
        "train-000005.tar/clip-0041.wav",
        "train-000003.tar/clip-0028.wav",
        "train-000007.tar/clip-0059.wav",
        "train-000002.tar/clip-0022.wav",
    ]
    for _, position in given:
        order.took(position)
    assert order.state() == {
        "stream": {
            "cursor": {"epoch": 0, "block": 1, "clips": 12, "lanes": [[0, 216064], [1, 72704]], "turn": 1},
            "taken": 1,
            "read": {
                "clips": 12,
                "seconds": pytest.approx(9.6),
                "longestSeconds": 1.0,
                "dropped": {},
                "faults": 0,
                "examples": [],
                "metTexts": [],
            },
        }
    }


class StoppedError(Exception):
    """The training is to end."""


def test_a_stop_is_seen_while_a_block_is_waited_for(speech: Path) -> None:
    asked = threading.Event()

    def wait(_clip: Clip) -> None:
        # As a store that does not answer.
        asked.wait(timeout=60)

    def stop() -> None:
        asked.set()
        raise StoppedError

    stream = stream_of(speech)
    waiting = replace(stream, checks=replace(stream.checks, refuse=wait))
    order: StepOrder[Any] = StepOrder(waiting, 4, by_samples, check_stop=stop)
    with pytest.raises(StoppedError), order.after(0) as steps:
        next(steps)
