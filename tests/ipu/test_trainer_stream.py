"""Streams on emulated IPUs: what the library's own trainer is given, and where a stopped run goes on."""

import gc
import os
import shutil
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple

import pytest
import tiny_model
import torch
from ipu_runs import IpuVolume, Run
from safetensors.torch import load_file
from test_trainer_resume import differing
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

import shards
from data_layouts import write_tar
from trainer_attempts import stop_at
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.ipu.trainer import IpuTrainer

CLIPS = 44
#: Nearly one and a half epochs: in each, what does not fill the eleventh step is left out.
STEPS = 14
CLIPS_PER_STEP = 4
FRACTION = "0.1"
#: Dropout draws from the random state, so a resumed run must find it as it was.
MODEL = {"dropout": 0.2}
PROCESSES = 2


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    tiny_model.write_model(folder / "model", **MODEL)
    shards.write_tars(folder / "tar", CLIPS, 9)
    shards.write_parquets(folder / "parquet", CLIPS, 17)
    for name in ("tar", "parquet"):
        tiny_model.write_clips(folder / name, 20, name="validation")
    return folder


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let processes make the features, as they do where there are CPUs for them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(PROCESSES + 1)))
    yield PROCESSES
    end_processes()


def end_processes() -> None:
    """End the loaders' processes of attempts that are over: the garbage collector takes 5 s for each."""
    for found in gc.get_objects():
        if isinstance(found, _MultiProcessingDataLoaderIter):
            found._shutdown_workers()


def config_of(volume: IpuVolume, source: str = "tar", **training: Any) -> TrainerConfig:
    dataset = {"source": f"pvc://speech/{source}", "evalFraction": FRACTION, **training.pop("dataset", {})}
    return volume.config(spec={"dataset": dataset}, **{"steps": STEPS, **training})


def new_volume(speech: Path, folder: Path) -> IpuVolume:
    folder.mkdir(exist_ok=True)
    return IpuVolume(speech, folder)


def run_of(speech: Path, folder: Path, **training: Any) -> Run:
    return Run(config_of(new_volume(speech, folder), **training), shards.LIMITS)


def attempt(volume: IpuVolume, config: TrainerConfig, exit_code: int = 0, **options: Any) -> Any:
    ended = volume.attempt(config, limits=shards.LIMITS, **options)
    assert ended.exit_code == exit_code, ended.result.message
    return ended.result


class Finished(NamedTuple):
    """A run that was not stopped, and did not evaluate before its end."""

    volume: IpuVolume
    data: Any


@pytest.fixture(scope="module", params=["tar", "parquet"])
def source(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def finished(speech: Path, source: str, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("ipus-in-use")
        patch.setenv("POPTORCH_EMU_IN_USE_FOLDER", str(folder))
        volume = new_volume(speech, tmp_path_factory.mktemp("runs") / "whole")
        return Finished(volume, attempt(volume, config_of(volume, source)).data)


#: In the first block, in a later one, at the epoch's end, and in the next epoch.
@pytest.mark.parametrize("step", [1, 7, 10, 12])
def test_a_stopped_run_goes_on_exactly(
    speech: Path, source: str, finished: Finished, tmp_path: Path, step: int
) -> None:
    volume = new_volume(speech, tmp_path / "parted")
    attempt(volume, config_of(volume, source), 75, on_change=stop_at(step))
    assert attempt(volume, config_of(volume, source)).data == finished.data
    assert differing(volume, finished.volume, "model") == []


def test_steps_that_processes_prepare_ahead_do_not_count_as_taken(
    speech: Path, source: str, finished: Finished, tmp_path: Path, processes: int
) -> None:
    # They are ahead over the end of a block, and of the epoch.
    volume = new_volume(speech, tmp_path / "parted")
    for step in (2, 8):
        attempt(volume, config_of(volume, source), 75, on_change=stop_at(step))
        end_processes()
    assert attempt(volume, config_of(volume, source)).data == finished.data
    assert differing(volume, finished.volume, "model") == []


def test_evaluations_in_between_change_nothing(
    speech: Path, source: str, finished: Finished, tmp_path: Path, processes: int
) -> None:
    volume = new_volume(speech, tmp_path / "measured")
    attempt(volume, config_of(volume, source, evalEverySteps=3, output={"keepCheckpoints": 9}))
    assert len(volume.names("validation")) == 6
    last = load_file(str(volume.run / f"checkpoints/checkpoint-{STEPS}/model.safetensors"))
    without = finished.volume.weights()
    assert [name for name in last if not torch.equal(last[name], without[name])] == []


def names(clips: Iterable[Clip]) -> List[str]:
    return [clip.identifier for clip in clips]


def test_an_epoch_has_every_clip_once_but_what_fills_no_step(speech: Path, tmp_path: Path) -> None:
    run = run_of(speech, tmp_path, steps=20)
    stream = shards.stream_of(run.clips)
    of_epochs = [names(clip for block in shards.epoch(stream, number) for clip in block.clips) for number in (0, 1)]
    order = run.backend._trainer.order
    with order.after(0):
        found = names(order)
    assert len(found) == len(order) == 20 * CLIPS_PER_STEP
    used = len(of_epochs[0]) // CLIPS_PER_STEP * CLIPS_PER_STEP
    epochs = [found[:used], found[used : 2 * used]]
    for given, whole in zip(epochs, of_epochs):
        assert len(set(given)) == used
        left_out = Counter(whole) - Counter(given)
        assert sum(left_out.values()) == len(whole) - used == 1
        assert not Counter(given) - Counter(whole)
        # Shuffled within its blocks.
        assert given != whole[:used]
    assert epochs[0] != epochs[1]


def recorded_batches(patch: pytest.MonkeyPatch) -> List[torch.Tensor]:
    """Return the features of each step, once it is taken."""
    batches: List[torch.Tensor] = []
    original = IpuTrainer.training_step

    def training_step(self: IpuTrainer, model: Any, inputs: Dict[str, torch.Tensor]) -> torch.Tensor:
        batches.append(inputs["input_features"].clone())
        return original(self, model, inputs)

    patch.setattr(IpuTrainer, "training_step", training_step)
    return batches


@pytest.mark.parametrize("workers", [0, PROCESSES])
def test_each_step_takes_the_clips_of_the_order(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any, workers: int
) -> None:
    if workers:
        request.getfixturevalue("processes")
    run = run_of(speech, tmp_path)
    assert run.backend._trainer.args.dataloader_num_workers == workers
    order = run_of(speech, tmp_path / "other").backend._trainer.order
    batches = recorded_batches(monkeypatch)
    ahead: List[int] = []
    run.backend.train(0, lambda _: ahead.append(len(run.backend._trainer.order._given)) is None)
    with order.after(0):
        expected = [run.backend._make_example(clip)["input_features"] for clip in order]
    assert torch.equal(torch.cat(batches), torch.stack([torch.from_numpy(features) for features in expected]))
    # What bounds the memory: no more steps are read than the processes have at hand.
    assert max(ahead) <= 2 * workers


def test_nothing_is_read_any_more_once_the_training_ends(speech: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    run = run_of(speech, tmp_path, steps=300)
    run.backend.train(0, lambda done: done.step < 2)
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=30)
        assert not thread.is_alive(), thread.name


def test_too_much_left_out_ends_the_run(speech: Path, tmp_path: Path) -> None:
    shutil.copytree(speech / "model", tmp_path / "model")
    shards.write_tars(tmp_path / "tar", 40, 10)
    broken = [(f"bad-{number:02d}.{suffix}", b"nothing") for number in range(60) for suffix in ("wav", "txt")]
    write_tar(tmp_path / "tar/train-999999.tar", broken)
    # The look sees a few clips only, and the training meets the others.
    limits = replace(shards.LIMITS, least_sampled=6, most_sampled=8, held_out_clips=1, lanes=1)
    volume = new_volume(tmp_path, tmp_path / "runs")
    ended = volume.attempt(config_of(volume, steps=100, dataset={"evalFraction": "0.2"}), limits=limits)
    assert (ended.exit_code, ended.result.reason) == (65, "DatasetInvalid")
    assert "more than dataset.maxDroppedFraction 0.1 allows (unreadable audio" in ended.result.message


def test_a_shard_that_is_gone_while_it_is_read(speech: Path, tmp_path: Path, processes: int) -> None:
    shutil.copytree(speech / "model", tmp_path / "model")
    shards.write_tars(tmp_path / "tar", 40, 10)
    run = run_of(tmp_path, tmp_path / "runs")
    for path in (tmp_path / "tar").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError):
        run.backend.train(0, lambda _: True)


@pytest.mark.parametrize(
    ("dataset", "count", "stage"),
    # Nobody waits for IPUs where the spec tells.
    [({"maxTrainClips": 31}, 31, "Preparing"), ({"evalFraction": "0.5"}, 24, "Training")],
    ids=["by what is asked for", "by what is there"],
)
def test_too_few_clips_for_one_step(
    speech: Path, tmp_path: Path, dataset: Dict[str, Any], count: int, stage: str
) -> None:
    volume = new_volume(speech, tmp_path)
    config = config_of(volume, dataset=dataset, ipus=16, steps=16)
    ended = volume.attempt(config, limits=shards.LIMITS)
    assert (ended.exit_code, ended.result.reason, ended.result.stage) == (65, "DatasetInvalid", stage)
    assert ended.result.message.startswith(
        f"{count} clips are left to train on, and one step on 16 IPUs takes 32: 8 replicas x 4 accumulated x"
    )
