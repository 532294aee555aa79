"""The estimate of a training's memory beside what PyTorch's allocator gave out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import clip_loading
import model_loading
import tiny_whisper
import tones
import trainer_configs
from whisper_finetune_api.planning import run_plan, training_memory
from whisper_finetune_api.planning.model_dimensions import DIMENSIONS, Dimensions
from whisper_finetune_api.planning.training_memory import MemoryEstimate, MicroBatch, Precision, estimate_memory
from whisper_finetune_api.v1alpha1 import Training as TrainingSpec
from whisper_finetune_trainer.model import clip_fitting, examples
from whisper_finetune_trainer.pytorch import device
from whisper_finetune_trainer.pytorch.backend import TorchBackend

pytestmark = pytest.mark.slow

#: As many as Whisper has, though these models know less of them.
VOCABULARY = 51_865
TINY, BASE = Dimensions(384, 4, 4, 6, VOCABULARY), Dimensions(512, 6, 6, 8, VOCABULARY)
#: As wide as Whisper small. Of its twelve layers there are six or three, to save this machine's own memory.
SMALL = Dimensions(768, 6, 6, 12, vocabulary=2_200)
SHALLOW = Dimensions(768, 3, 3, 12, VOCABULARY)
#: Nothing is transcribed in a step.
NOTHING = MicroBatch(clips=0, positions=0, tokens=0)


@dataclass(frozen=True)
class Training:
    """A training whose second step is measured. Its clips fill a window."""

    model: Dimensions
    window: int
    clips: int
    trainable: str
    precision: Precision
    micro_batch: int
    words: int = 20
    is_cached: bool = False
    recomputes: bool = False


TRAININGS = (
    Training(TINY, 30, 2, "All", "Float", 2),
    Training(TINY, 30, 4, "All", "Half", 4),
    Training(TINY, 5, 8, "All", "Half", 4),
    Training(TINY, 5, 8, "Decoder", "Float", 8, words=2),
    Training(TINY, 30, 4, "Decoder", "Half", 4, is_cached=True),
    Training(BASE, 30, 1, "All", "Float", 1, words=40),
    Training(BASE, 5, 8, "All", "Half", 8, words=10),
    Training(BASE, 5, 6, "Decoder", "Half", 2),
    Training(BASE, 30, 2, "Decoder", "Float", 2, is_cached=True),
    Training(SHALLOW, 5, 4, "All", "Float", 2, words=2),
    Training(SMALL, 5, 4, "Decoder", "Half", 4, is_cached=True),
    Training(SMALL, 5, 4, "Decoder", "Float", 4),
    Training(TINY, 30, 4, "All", "Float", 4, words=2, recomputes=True),
    Training(BASE, 5, 8, "All", "Half", 8, words=10, recomputes=True),
    Training(TINY, 30, 4, "Decoder", "Float", 4, recomputes=True),
)


def skip_without(precision: Precision) -> None:
    if precision == "Half" and device.cpu_precision(Path("/proc/cpuinfo").read_text("utf-8"), None) == "Float":
        pytest.skip("this CPU does not compute in bfloat16")


def opened(folder: Path, training: Training, **more: Any) -> TorchBackend:
    model = training.model
    tiny_whisper.build(
        folder / "model",
        window_seconds=training.window,
        d_model=model.width,
        encoder_layers=model.encoder_layers,
        decoder_layers=model.decoder_layers,
        encoder_attention_heads=model.heads,
        decoder_attention_heads=model.heads,
        encoder_ffn_dim=4 * model.width,
        decoder_ffn_dim=4 * model.width,
        vocab_size=model.vocabulary,
        max_target_positions=448,
    )
    texts = (" ".join(["sole"] * training.words),)
    tones.write_clips(folder / "clips", 2 * training.clips + 6, seconds=training.window - 1, texts=texts)
    changes = {
        "steps": 2,
        "batchSize": training.clips,
        "microBatchSize": training.micro_batch,
        "precision": training.precision,
        "trainable": training.trainable,
        "gradientCheckpointing": "On" if training.recomputes else "Off",
        **more,
    }
    config = trainer_configs.config_on(folder, {f"training.{name}": value for name, value in changes.items()})
    config = config.model_copy(update={"scratch_limit_bytes": 10**9 if training.is_cached else 0})
    loaded = model_loading.load_model(config)
    clips = clip_fitting.fit_clips(clip_loading.load_clips(config), loaded, "cpu", config.spec.training)
    return TorchBackend(tiny_whisper.backend_settings(config), loaded, clips)


def peak_bytes(work: Callable[[], Any]) -> int:
    """Return the most that PyTorch's allocator gave out at one time during some work."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def measured(backend: TorchBackend) -> int:
    """Return the most memory of the second step, with the weights and the moments that the first one makes."""
    steps = backend.steps(0)
    next(steps)
    moments = backend._optimizer._adamw.state.values()
    kept = [*backend._loaded.network.parameters(), *(tensor for state in moments for tensor in state.values())]
    return sum(tensor.nbytes for tensor in kept) + peak_bytes(lambda: next(steps))


def estimated(backend: TorchBackend, training: Training) -> MemoryEstimate:
    clip = backend._clips.train.listed[0]
    batch = MicroBatch(
        clips=training.micro_batch,
        positions=50 * training.window,
        tokens=len(examples.label_of(clip, backend._loaded).said),
        in_a_step=training.clips // training.micro_batch,
        recomputes=training.recomputes,
    )
    trains_encoder = training.trainable == "All"
    return estimate_memory(training.model, batch, training.precision, trains_encoder=trains_encoder, evaluated=NOTHING)


@pytest.mark.parametrize("training", TRAININGS, ids=str)
def test_the_estimate_is_within_10_percent_of_what_the_allocator_gave_out(tmp_path: Path, training: Training) -> None:
    skip_without(training.precision)
    backend = opened(tmp_path, training)
    ratio = estimated(backend, training).peak / measured(backend)
    assert 0.9 < ratio < 1.1


@pytest.mark.parametrize("precision", ["Float", "Half"])
@pytest.mark.parametrize(("window", "tokens"), [(30, 10), (2, 64)], ids=["encoding", "writing"])
def test_so_is_that_of_an_evaluation(tmp_path: Path, precision: Precision, window: int, tokens: int) -> None:
    skip_without(precision)
    clips = 4
    backend = opened(tmp_path, Training(TINY, window, clips, "All", precision, clips, words=1), maxLabelTokens=tokens)
    heard = backend._clips.train.listed[:clips]
    peak = peak_bytes(lambda: backend.transcribe(heard, lambda _: None))
    batch = MicroBatch(clips, 50 * window, tokens)
    found = estimate_memory(TINY, batch, precision, trains_encoder=True, evaluated=batch)
    assert 0.9 < (found.weights + found.evaluation) / (found.weights + peak) < 1.1


def test_the_plan_has_the_estimate_by_part() -> None:
    spec = trainer_configs.make_config(
        trainer_configs.make_spec(model="openai/whisper-small", training={"trainable": "Decoder"})
    ).spec
    planned = run_plan.make_run_plan(spec, "cuda").memory
    assert planned is not None
    assert (planned.weights, planned.gradients, planned.moments) == (966939648, 614323200, 1228646400)
    assert planned.weight_copies == planned.gradients // 2
    assert planned.logits == 16 * 224 * 51865 * 12
    parts = planned.gradients + planned.weight_copies + planned.activations + planned.logits
    assert planned.weights + planned.moments < planned.peak < planned.weights + planned.moments + parts


@pytest.mark.parametrize(("limit_mb", "found"), [(4000, 8), (1300, 8), (1000, 4), (900, 2), (650, 1), (1, 1)])
def test_as_many_clips_as_a_pods_memory_holds_go_through_at_once(limit_mb: int, found: int) -> None:
    # A process has 600 MB of its own.
    assert training_memory.largest_that_fits(8, lambda clips: clips * 80_000_000, limit_mb * 1_000_000) == found


def test_fewer_clips_are_not_taken_where_evaluations_need_the_most() -> None:
    assert training_memory.largest_that_fits(8, lambda clips: max(500, clips), 1) == 8


@pytest.mark.parametrize(("training", "found"), [({}, 1), ({"microBatchSize": 8}, 8)], ids=["by itself", "the user's"])
def test_a_pod_with_little_memory_trains_one_clip_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: dict[str, int], found: int
) -> None:
    # Else evaluations would need the most.
    monkeypatch.setattr(run_plan, "CLIPS_TRANSCRIBED_AT_ONCE", 1)
    tiny_whisper.build(tmp_path / "model")
    tones.write_clips(tmp_path / "clips", 20)
    config = trainer_configs.config_on(tmp_path, {f"training.{name}": value for name, value in training.items()})
    loaded = model_loading.load_model(config)
    clips = clip_fitting.fit_clips(clip_loading.load_clips(config), loaded, "cpu", config.spec.training)
    settings = dataclasses.replace(tiny_whisper.backend_settings(config), memory_bytes=1 << 20)
    assert TorchBackend(settings, loaded, clips).ran_on.micro_batch_size == found


def test_more_clips_or_a_trained_encoder_or_float_take_more() -> None:
    whole = trainer_configs.make_config(trainer_configs.make_spec()).spec.training
    decoder = whole.model_copy(update={"trainable": "Decoder"})

    def peak(training: TrainingSpec, clips: int, precision: Precision) -> int:
        batch = run_plan.longest_micro_batch(training, clips)
        return run_plan.memory_of(DIMENSIONS["openai/whisper-large-v3"], training, batch, precision).peak

    assert peak(decoder, 16, "Half") < peak(decoder, 32, "Half")
    assert peak(decoder, 16, "Half") < peak(decoder, 16, "Float")
    assert peak(decoder, 16, "Half") < peak(whole, 16, "Half")
