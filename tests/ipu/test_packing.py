"""Packed clips on emulated IPUs: their labels, the library's loss on them, and an exact resume."""

from pathlib import Path
from typing import Any, Dict, List

import ipu_runs
import pytest
import torch
from ipu_runs import IpuVolume, Run

import packed_labels
from whisper_finetune_trainer.ipu.examples import DECODER_INPUTS, Collator, ExampleMaker
from whisper_finetune_trainer.model import examples
from whisper_finetune_trainer.model.backend import StepDone

PACKED: Dict[str, Any] = {"packing": "Any", "timestampRate": "0.5", "promptRate": "0.9", "maxLabelTokens": 48}
STEPS = 6


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ipu_runs.write_speech(tmp_path_factory.mktemp("speech"), 30, window_seconds=6)


@pytest.fixture
def run(speech: Path, tmp_path: Path) -> Run:
    return Run(IpuVolume(speech, tmp_path).config(steps=STEPS, **PACKED))


def test_labels_are_in_whispers_own_format(run: Run) -> None:
    packed_labels.check_literals(run.loaded)
    packed_labels.check_bounds(run.loaded)
    packed_labels.check_loss_is_on_what_is_said(run.loaded)


def test_an_epoch_has_whole_steps_of_all_clips(run: Run) -> None:
    with run.backend._trainer.order.after(0):
        taken = list(run.backend._trainer.order)
    steps = [taken[first : first + 4] for first in range(0, len(taken), 4)]
    clips: List[str] = []
    while len(clips) < len(run.clips.train.listed):
        clips += [clip.identifier for passage in steps.pop(0) for clip in passage.clips]
    assert sorted(clips) == sorted(clip.identifier for clip in run.clips.train.listed)


def test_the_loss_is_that_of_the_network_on_what_is_said(run: Run) -> None:
    """The emulation's first loss is the plain network's, with the prompts as inputs and without a loss on them."""
    with run.backend._trainer.order.after(0):
        first = list(run.backend._trainer.order)[:4]
    assert any(passage.text_before for passage in first)
    make = ExampleMaker(run.loaded, "float32")
    batch = Collator(48, run.loaded.network.config.pad_token_id)([make(passage) for passage in first])
    assert (batch["labels"][:, 0] == examples.IGNORED).any()
    assert batch[DECODER_INPUTS].shape == batch["labels"].shape == (4, 48)
    rows = [{name: value[row : row + 1] for name, value in batch.items()} for row in range(4)]
    with torch.no_grad():
        plain = [run.loaded.network.eval()(**row).loss.item() for row in rows]
    told: List[StepDone] = []

    def stop(done: StepDone) -> bool:
        told.append(done)
        return False

    run.backend.train(0, stop)
    # The library tells the loss of the last micro-batch.
    assert told[0].loss == pytest.approx(plain[-1], abs=1e-4)


def weights_after(run: Run, first_step: int, last_step: int) -> Dict[str, torch.Tensor]:
    run.backend.train(first_step, lambda done: done.step < last_step)
    run.backend.gather_weights()
    return {name: weight.detach().clone() for name, weight in run.loaded.network.named_parameters()}


def test_a_resumed_packed_run_ends_with_the_same_bits(speech: Path, tmp_path: Path) -> None:
    config = IpuVolume(speech, tmp_path).config(steps=STEPS, **PACKED)
    straight = weights_after(Run(config), 0, STEPS)
    stopped = Run(config)
    weights_after(stopped, 0, 4)
    tensors, values = stopped.backend.state()
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    del stopped
    resumed = Run(config)
    resumed.backend.load_state(kept, values)
    found = weights_after(resumed, 4, STEPS)
    assert all(torch.equal(found[name], weight) for name, weight in straight.items())
