"""What keeps a run from IPUs, with its reason, exit code and message, and what the trainer works around."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Iterator, List

import ipu_runs
import poptorch
import pytest
import tiny_model
import torch
import yaml
from ipu_runs import IpuVolume
from poptorch import partition
from torch.utils.data import DataLoader

import small_disks
import specs
from repository import ROOT
from store_doubles import fault_proxy
from trainer_configs import make_spec
from whisper_finetune_api.planning.model_dimensions import DIMENSIONS
from whisper_finetune_trainer.data.audio.audio_sources import WholeFile
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.ipu.examples import ClipError, ExampleMaker, Examples
from whisper_finetune_trainer.messages.errors import TrainerError, quoted
from whisper_finetune_trainer.model.backend import plan_training


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ipu_runs.write_speech(tmp_path_factory.mktemp("speech"))


@pytest.fixture
def volume(speech: Path, tmp_path: Path) -> IpuVolume:
    return IpuVolume(speech, tmp_path)


def refused(volume: IpuVolume, exit_code: int, reason: str, **config: Any) -> str:
    ended = volume.attempt(volume.config(**{"steps": 2, **config}))
    assert (ended.exit_code, ended.result.reason) == (exit_code, reason), ended.result.message
    return ended.result.message


def succeeded(volume: IpuVolume, **config: Any) -> Any:
    ended = volume.attempt(volume.config(**{"steps": 2, **config}))
    assert ended.exit_code == 0, ended.result.message
    return ended.result


def test_too_few_clips_for_one_step(volume: IpuVolume) -> None:
    message = refused(volume, 65, "DatasetInvalid", ipus=16, steps=16)
    assert message == (
        "16 clips are left to train on, and one step on 16 IPUs takes 32: 8 replicas x 4 accumulated x micro-batches "
        "of 1; give more clips, fewer ipus, or a smaller training.batchSize"
    )


def test_a_layout_that_cannot_be_is_found_out_for_a_model_outside_the_table(volume: IpuVolume) -> None:
    message = refused(volume, 64, "ConfigInvalid", spec={"ipuConfig": {"layersPerIpu": [3, 2]}})
    assert message.startswith("ipuConfig.layersPerIpu [3, 2] places 5 layers, and pvc://speech/model has 4")


def test_less_accumulation_than_the_pipeline_has_stages(volume: IpuVolume) -> None:
    assert "make a pipeline of 3 stages" in refused(volume, 64, "ConfigInvalid", batchSize=2)


def test_large_v3_is_refused(volume: IpuVolume) -> None:
    with pytest.raises(TrainerError, match="vocabulary of 51866 = 2 x 25933 cannot be serialized on IPUs"):
        plan_training(volume.config().spec, "ipu", 64, DIMENSIONS["openai/whisper-large-v3"])


def test_an_english_only_model_is_trained_without_language_and_task(tmp_path: Path) -> None:
    speech = ipu_runs.write_speech(tmp_path / "speech", is_multilingual=False)
    volume = IpuVolume(speech, tmp_path)
    result = succeeded(volume, spec={"language": "en"})
    assert result.model is not None
    settings = volume.json("model/generation_config.json")
    assert settings["forced_decoder_ids"] == [[1, 362]]


def test_why_recordings_of_minutes_are_not_measured_is_said(speech: Path, volume: IpuVolume) -> None:
    tiny_model.write_clips(speech / "clips", 72, name="many")
    scores = succeeded(volume, spec={"dataset": {"source": "pvc://speech/clips", "evalSplit": "many"}}).evaluations
    assert [each.to_json_object() for each in scores] == [
        {
            "name": "long-form",
            "verdict": "NotMeasured",
            "reason": "IPUs hear one window after a fixed prompt without timestamps: try the model on long recordings "
            "before you use it for them",
        }
    ]


def test_an_sdk_that_the_library_is_not_made_for(volume: IpuVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poptorch, "__version__", "3.1.0+98660")
    message = refused(volume, 64, "ConfigInvalid")
    assert "PopTorch is 3.1.0+98660, and optimum-graphcore 0.7.1 needs 3.3" in message
    assert "graphcore/pytorch:3.3.0" in message


def run_trainer(path: List[str], *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "whisper_finetune_trainer", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def write_object(folder: Path, **changes: Any) -> Path:
    spec = specs.with_changes(make_spec(), {"training.batchSize": 4, "training.maxLabelTokens": 32, **changes})
    path = folder / "run.yaml"
    described = {
        "apiVersion": "whisperfinetune.dev/v1alpha1",
        "kind": "WhisperFineTune",
        "metadata": {"name": "demo"},
        "spec": spec,
    }
    path.write_text(yaml.safe_dump(described), encoding="utf-8")
    return path


def test_an_image_without_poptorch(speech: Path, tmp_path: Path) -> None:
    described = write_object(tmp_path)
    ended = run_trainer(["crds", "trainer"], "run", described, "--accelerator", "ipu", "--volume", f"speech={speech}")
    assert ended.returncode == 64, ended.stderr
    assert "PopTorch cannot be loaded (No module named 'poptorch')" in ended.stderr


def write_gc_info(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "gc-info"
    program.write_text(f"#!/bin/sh\ncat <<END\n{text}\nEND\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("listing", "says"),
    [
        ("Graphcore device listing:\nPartition: p1 [error]", "p1 is error"),
        ("No Graphcore device detected: partition is not ACTIVE", "the partition is not active"),
    ],
)
def test_a_partition_that_is_not_active(
    volume: IpuVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str, says: str
) -> None:
    write_gc_info(tmp_path, listing, monkeypatch)
    assert says in refused(volume, 69, "AcceleratorUnavailable")


def test_an_active_partition(volume: IpuVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gc_info(tmp_path, "Graphcore device listing:\nPartition: p1 [active]\n-+- Id: [0]", monkeypatch)
    succeeded(volume)


def test_a_partition_smaller_than_was_said(volume: IpuVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_AVAILABLE_IPU", "2")
    # Waiting would be in vain.
    message = refused(volume, 69, "AcceleratorUnavailable", ipus=4, wait_seconds=600)
    assert "No device found on the system with 4 IPUs" in message


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[partition.Held]:
    """All IPUs of the partition, held by somebody else; the trainer is told to wait for them."""
    monkeypatch.setenv("NUM_AVAILABLE_IPU", "2")
    holding = partition.acquire(2)
    monkeypatch.setenv("POPTORCH_WAIT_FOR_IPU", "1")
    yield holding
    if not any(file.closed for file in holding.files):
        holding.release()


def test_ipus_in_use_for_longer_than_the_deadline(volume: IpuVolume, held: partition.Held) -> None:
    message = refused(volume, 69, "AcceleratorUnavailable", wait_seconds=1)
    assert message.startswith("accelerator ipu: 2 IPUs were in use by others for 1 s")


def test_ipus_that_become_free_before_the_deadline(
    volume: IpuVolume, held: partition.Held, caplog: pytest.LogCaptureFixture
) -> None:
    # When it has looked once, they are given back.
    caplog.set_level("INFO")
    releasing = threading.Timer(0.5, held.release)
    releasing.start()
    succeeded(volume, wait_seconds=60)
    assert "2 IPUs are in use; waiting" in caplog.text


def test_a_second_run_of_the_same_shapes_finds_its_executables(
    volume: IpuVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "executables"
    monkeypatch.setenv("POPLAR_EXECUTABLE_CACHE_DIR", str(cache))
    succeeded(volume)
    first = sorted((cache / "whisper").iterdir())
    assert len(first) == 3  # training, encoder, decoder
    other = IpuVolume(volume.speech, tmp_path / "other")
    other.folder.mkdir()
    result = succeeded(other, seed=1)
    assert sorted((cache / "whisper").iterdir()) == first
    assert result.ran_on.hardware == "2 IPUs, 1 replica of 2"


@pytest.mark.parametrize("fault", ["Read-only file system", "only 0.0 GiB are free, 2.0 are needed"])
def test_a_cache_that_cannot_be_written_is_not_used(
    volume: IpuVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    cache = tmp_path / "executables"
    cache.mkdir()
    for name in ("POPLAR_EXECUTABLE_CACHE_DIR", "POPTORCH_CACHE_DIR"):
        monkeypatch.setenv(name, str(cache))
    with small_disks.mounted(cache, mebibytes=1):
        if fault.startswith("Read-only"):
            small_disks.make_read_only(cache)
        result = succeeded(volume)
        assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert result.ran_on.hardware == f"2 IPUs, 1 replica of 2, without executable cache ({fault})"
    card = (volume.run / "model/README.md").read_text(encoding="utf-8")
    assert result.ran_on.hardware in card
    assert "poptorch 3.3.0 emulated" in card


def test_a_clip_that_breaks_while_training(speech: Path, tmp_path: Path) -> None:
    tiny_model.write_clips(tmp_path / "clips", 20)
    shutil.copytree(speech / "model", tmp_path / "model")
    run = ipu_runs.Run(IpuVolume(tmp_path, tmp_path).config(steps=2))
    for audio in (tmp_path / "clips/audio").iterdir():
        audio.write_bytes(b"no sound")
    listed = run.clips.train.listed
    for use in (lambda: run.backend.train(0, lambda _: True), lambda: run.backend.transcribe(listed, print)):
        with pytest.raises(TrainerError, match=r"audio/train-00\d\d.wav cannot be decoded") as ended:
            use()
        assert ended.value.reason == "DatasetInvalid"


def test_another_clip_stands_in_for_one_that_breaks_while_training(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = []
    # With so many CPUs processes read: none, and two.
    for cpus in (1, 3):
        monkeypatch.setattr("whisper_finetune_trainer.machine.pod_limits.available_cpus", lambda cpus=cpus: cpus)
        folder = tmp_path / f"{cpus}-cpus"
        tiny_model.write_clips(folder / "clips", 20)
        shutil.copytree(speech / "model", folder / "model")
        run = ipu_runs.Run(IpuVolume(folder, tmp_path).config(steps=8))
        Path(run.clips.train.listed[3].audio.file).write_bytes(b"no sound")
        run.backend.train(0, lambda _: True)
        run.backend.gather_weights()
        weights.append(run.loaded.network.state_dict())
    assert all(torch.equal(weights[1][name], weight) for name, weight in weights[0].items())


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clip]:
    """Return a clip of a bucket whose store refuses everything."""
    with fault_proxy.before("http://127.0.0.1:1") as store:
        store.refuse(lambda _: True, 403, "AccessDenied")
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
        yield Clip("a.wav", WholeFile("s3://speech/a.wav"), "uno", 1.0)


def test_a_store_that_refuses_a_clip_while_training_is_no_broken_data_set(volume: IpuVolume, denied: Clip) -> None:
    run = ipu_runs.Run(volume.config(steps=2))
    with pytest.raises(TrainerError, match=r"have no right to s3://speech/a.wav \(AccessDenied\)") as ended:
        run.backend.transcribe([denied] * 4, print)
    assert ended.value.reason == "AccessDenied"


def test_what_befalls_a_clip_is_known_after_it_crossed_from_a_loaders_process(
    volume: IpuVolume, tmp_path: Path
) -> None:
    run = ipu_runs.Run(volume.config(steps=2))
    broken = tmp_path / "a.wav"
    broken.write_bytes(b"no sound")
    clip = Clip("a.wav", WholeFile(str(broken)), "uno", 1.0)
    with pytest.raises(ClipError, match="Traceback") as ended:
        next(iter(DataLoader(Examples([clip], ExampleMaker(run.loaded, "float32")), num_workers=1)))
    cause = ended.value.cause()
    assert cause.reason == "DatasetInvalid"
    assert cause.message.startswith(f"audio file {quoted(broken)} cannot be decoded: ")


def test_a_loaders_process_reads_a_store_that_its_parent_has_read(volume: IpuVolume, denied: Clip) -> None:
    examples = Examples([denied], ExampleMaker(ipu_runs.Run(volume.config(steps=2)).loaded, "float32"))
    with pytest.raises(ClipError):
        examples[0]
    with pytest.raises(ClipError, match="Traceback") as ended:
        next(iter(DataLoader(examples, num_workers=1, timeout=30)))
    assert ended.value.cause().reason == "AccessDenied"


def test_a_loss_that_is_no_number(volume: IpuVolume) -> None:
    message = refused(volume, 65, "TrainingDiverged", steps=8, learningRate="1e30", warmupFraction="0.0")
    assert message == "the loss of step 2 is nan; lower training.learningRate"


def test_a_checkpoint_of_another_network(volume: IpuVolume, tmp_path: Path) -> None:
    run = ipu_runs.Run(volume.config())
    with pytest.raises(TrainerError, match="the checkpoint holds other weights than this run trains"):
        run.backend.load_state({}, {"optimizer": {}, "schedule": {}, "random": {}, "step": 1})
