import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from safetensors.torch import load, save
from torch.utils.data import SequentialSampler
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, WhisperFeatureExtractor

import clip_loading
import model_loading
import tiny_whisper
import tones
import trainer_configs
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.data.run_clips import Clips, StepOrder
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import clip_fitting
from whisper_finetune_trainer.pytorch import device, encoder_outputs, train_steps
from whisper_finetune_trainer.pytorch.backend import TorchBackend
from whisper_finetune_trainer.pytorch.encoder_outputs import EncoderOutputs, ScratchBudget
from whisper_finetune_trainer.pytorch.train_steps import StepSize, TrainStep

pytestmark = pytest.mark.slow

STEPS = 10
WINDOW_OF_EQUALITY = 5
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume whose clips fill windows of 5 and 10 seconds of a model that hears 12."""
    folder = tmp_path_factory.mktemp("volume")
    tiny_whisper.build(folder / "model", window_seconds=12)
    tones.write_clips(folder / "clips", 20)
    tones.write_clips(folder / "clips", 6, seconds=6.0, name="longer")
    manifest = folder / "clips" / "train.jsonl"
    longer = (folder / "clips" / "longer.jsonl").read_text(encoding="utf-8")
    manifest.write_text(manifest.read_text(encoding="utf-8") + longer, encoding="utf-8")
    return folder


def skip_without(precision: str | None) -> None:
    """Skip a test whose precision this CPU has not: it is refused there."""
    if precision == "Half" and device.cpu_precision(Path("/proc/cpuinfo").read_text("utf-8"), None) == "Float":
        pytest.skip("this CPU does not compute in bfloat16")


class Run:
    """A backend with what it was made from."""

    def __init__(
        self, volume: Path, *, scratch_limit_bytes: int = 100_000_000, scratch_folder: str = "/tmp", **training: Any
    ) -> None:
        values = {"steps": STEPS, "learningRate": "0.001", "batchSize": 4, "precision": "Float", **training}
        config = trainer_configs.config_on(volume, {f"training.{name}": value for name, value in values.items()})
        scratch = {"scratch_limit_bytes": scratch_limit_bytes, "scratch_folder": scratch_folder}
        self.config: TrainerConfig = config.model_copy(update=scratch)
        self.loaded = model_loading.load_model(self.config)
        self.clips: Clips = clip_fitting.fit_clips(
            clip_loading.load_clips(self.config), self.loaded, self.config.accelerator, self.config.spec.training
        )
        self.backend = TorchBackend(tiny_whisper.backend_settings(self.config), self.loaded, self.clips)

    def train(self, first_step: int = 0, last_step: int = STEPS) -> list[float]:
        losses = []
        for done in self.backend.steps(first_step):
            losses.append(done.loss)
            if done.step == last_step:
                break
        return losses

    def divide(self, micro_batch_size: int) -> None:
        """Have another number of clips go through the network at once."""
        schedule = self.config.schedule.model_copy(update={"micro_batch_size": micro_batch_size})
        self.backend = TorchBackend(
            tiny_whisper.backend_settings(self.config.model_copy(update={"schedule": schedule})),
            self.loaded,
            self.clips,
        )

    def weights(self) -> Weights:
        return {name: weight.detach().clone() for name, weight in self.loaded.network.named_parameters()}


def changed(before: Weights, after: Weights) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def stopped_and_resumed(volume: Path, at_step: int, **options: Any) -> Weights:
    first = Run(volume, **options)
    first.train(last_step=at_step)
    tensors, values = first.backend.state()
    # As bytes: nothing may be shared with the run that is over.
    stored = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    second = Run(volume, **options)
    second.backend.load_state(load(stored), values)
    second.train(first_step=at_step)
    return second.weights()


RESUMED: dict[str, dict[str, Any]] = {
    "all weights": {"trainable": "All"},
    "decoder with cached encoder outputs": {"trainable": "Decoder"},
    "decoder without a cache": {"trainable": "Decoder", "scratch_limit_bytes": 0},
    "bfloat16": {"trainable": "Decoder", "precision": "Half"},
    "accumulated": {"trainable": "Decoder", "batchSize": 12},
}


@pytest.mark.parametrize("at_step", [1, 7], ids=["early", "in the second epoch"])
@pytest.mark.parametrize("options", RESUMED.values(), ids=RESUMED.keys())
def test_a_resumed_run_ends_with_the_same_bits(volume: Path, options: dict[str, Any], at_step: int) -> None:
    skip_without(options.get("precision"))
    straight = Run(volume, **options)
    straight.train()
    assert changed(straight.weights(), stopped_and_resumed(volume, at_step, **options)) == set()


def test_a_resumed_run_draws_the_same_dropout_and_masks(tmp_path: Path, volume: Path) -> None:
    tiny_whisper.build(
        tmp_path / "model",
        window_seconds=12,
        dropout=0.2,
        encoder_layerdrop=0.3,
        apply_spec_augment=True,
    )
    shutil.copytree(volume / "clips", tmp_path / "clips")
    options: dict[str, Any] = {"trainable": "Decoder"}
    straight = Run(tmp_path, **options)
    assert not encoder_outputs.is_deterministic(straight.loaded.network.config)
    straight.train()
    assert changed(straight.weights(), stopped_and_resumed(tmp_path, 7, **options)) == set()


def test_a_mask_longer_than_a_short_window_masks_all_of_it(tmp_path: Path, volume: Path) -> None:
    tiny_whisper.build(
        tmp_path / "model", window_seconds=12, apply_spec_augment=True, mask_time_prob=0.05, mask_time_length=1200
    )
    shutil.copytree(volume / "clips", tmp_path / "clips")
    run = Run(tmp_path, trainable="All")
    run.train(last_step=2)
    assert run.loaded.network.config.mask_time_length == 1200


@pytest.mark.parametrize(("batch_size", "parts"), [(11, (5, 6)), (17, (8, 9))])
def test_unequal_micro_batches_train_as_one_batch_does(tmp_path: Path, batch_size: int, parts: tuple[int, ...]) -> None:
    tiny_whisper.build(tmp_path / "model", window_seconds=WINDOW_OF_EQUALITY)
    tones.write_clips(tmp_path / "clips", 24)
    divided, whole = (Run(tmp_path, trainable="All", batchSize=batch_size) for _ in range(2))
    divided.divide(max(parts))
    whole.divide(batch_size)
    sizes: list[int] = []
    divided.loaded.network.model.encoder.register_forward_hook(lambda *hook: sizes.append(len(hook[2][0])))
    start = whole.weights()
    # Two steps an epoch: the second takes the clips that are left over.
    assert divided.train(last_step=3) == pytest.approx(whole.train(last_step=3), abs=1e-5)
    assert sorted(sizes[: len(parts)]) == list(parts)
    trained, expected = divided.weights(), whole.weights()
    assert max((trained[name] - weight).abs().max().item() for name, weight in start.items()) > 1e-4
    assert max((trained[name] - weight).abs().max().item() for name, weight in expected.items()) < 1e-6


@pytest.fixture(scope="module")
def many_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a volume with 44 clips of one window, and a model that draws dropout and masks."""
    folder = tmp_path_factory.mktemp("many")
    tiny_whisper.build(folder / "model", window_seconds=WINDOW_OF_EQUALITY)
    tones.write_clips(folder / "clips", 44)
    drawing = {"dropout": 0.2, "apply_spec_augment": True}
    tiny_whisper.build(folder / "drawing" / "model", window_seconds=WINDOW_OF_EQUALITY, **drawing)
    shutil.copytree(folder / "clips", folder / "drawing" / "clips")
    return folder


@pytest.mark.parametrize(
    ("batch_size", "parts"),
    [(1, (1,)), (7, (3, 4)), (16, (4, 4, 4, 4)), (17, (4, 4, 4, 5)), (31, (4, 4, 4, 4, 5, 5, 5))],
)
def test_a_micro_batch_of_the_users_trains_as_the_whole_batch_does(
    many_clips: Path, batch_size: int, parts: tuple[int, ...]
) -> None:
    divided = Run(many_clips, trainable="All", batchSize=batch_size, microBatchSize=5)
    whole = Run(many_clips, trainable="All", batchSize=batch_size, microBatchSize=batch_size)
    sizes: list[int] = []
    divided.loaded.network.model.encoder.register_forward_hook(lambda *hook: sizes.append(len(hook[2][0])))
    # The last step of an epoch has the clips that are left over.
    losses = divided.train(last_step=4)
    assert losses == pytest.approx(whole.train(last_step=4), abs=1e-5)
    assert sorted(sizes[: len(parts)]) == list(parts)
    trained, expected = divided.weights(), whole.weights()
    assert max((trained[name] - weight).abs().max().item() for name, weight in expected.items()) < 2e-6


def short_of_memory(run: Run, most_clips: int, begin_at_call: int = 1) -> None:
    """Have PyTorch's allocator fail, from a call of the encoder on, where more clips go through it at once."""
    calls: list[int] = []

    def allocate(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        calls.append(len(inputs[0]))
        if len(inputs[0]) > most_clips and len(calls) >= begin_at_call:
            torch.empty(1 << 46)

    run.loaded.network.model.encoder.conv1.register_forward_pre_hook(allocate)


def test_a_step_without_memory_is_taken_again_in_halves_that_draw_the_same(
    many_clips: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = many_clips / "drawing"
    halved = Run(volume, batchSize=8)
    assert halved.backend.ran_on.micro_batch_size == 8
    assert not encoder_outputs.draws_nothing(halved.loaded.network.config)
    short_of_memory(halved, 4)
    losses = halved.train()
    # Only now: each run seeds the one generator.
    planned = Run(volume, batchSize=8, microBatchSize=4)
    assert losses == planned.train()
    assert changed(halved.weights(), planned.weights()) == set()
    assert halved.backend.ran_on.micro_batch_size == 4
    assert caplog.text.count("out of memory: from here on 4 clips go through at once") == 1


def test_gradients_from_before_memory_ran_out_do_not_count_twice(many_clips: Path) -> None:
    # Twelve clips are two parts of six, and the second one does not fit.
    halved, planned = Run(many_clips, batchSize=12), Run(many_clips, batchSize=12, microBatchSize=3)
    short_of_memory(halved, 3, begin_at_call=2)
    assert halved.train() == planned.train()
    assert changed(halved.weights(), planned.weights()) == set()


def test_a_run_resumed_after_memory_ran_out_ends_with_the_same_bits(many_clips: Path) -> None:
    straight = Run(many_clips, batchSize=12)
    short_of_memory(straight, 3, begin_at_call=4)
    straight.train(last_step=5)
    tensors, values = straight.backend.state()
    stored = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    straight.train(first_step=5)
    resumed = Run(many_clips, batchSize=12)
    resumed.backend.load_state(load(stored), values)
    assert resumed.backend.ran_on.micro_batch_size == 3
    resumed.train(first_step=5)
    assert changed(straight.weights(), resumed.weights()) == set()


@pytest.mark.parametrize("training", [{"microBatchSize": 4}, {"batchSize": 1}], ids=["as the user says", "one clip"])
def test_memory_that_cannot_be_saved_ends_the_training(many_clips: Path, training: dict[str, int]) -> None:
    run = Run(many_clips, **{"batchSize": 4, **training})
    short_of_memory(run, 0)
    with pytest.raises(RuntimeError, match="you tried to allocate 281474976710656 bytes"):
        run.train()


def recomputing(run: Run) -> bool:
    return bool(run.backend.ran_on.gradient_checkpointing)


@pytest.mark.parametrize("precision", ["Float", "Half"])
@pytest.mark.parametrize("trainable", ["All", "Decoder"])
def test_layers_that_are_computed_again_give_the_same_bits(many_clips: Path, trainable: str, precision: str) -> None:
    skip_without(precision)
    options: dict[str, Any] = {"trainable": trainable, "precision": precision, "batchSize": 8}
    kept = Run(many_clips / "drawing", gradientCheckpointing="Off", **options)
    losses = kept.train(last_step=4)
    again = Run(many_clips / "drawing", gradientCheckpointing="On", **options)
    assert (recomputing(kept), recomputing(again)) == (False, True)
    calls: list[int] = []
    again.loaded.network.model.decoder.layers[0].fc1.register_forward_pre_hook(lambda *_: calls.append(1))
    assert losses == again.train(last_step=4)
    assert len(calls) == 8
    assert changed(kept.weights(), again.weights()) == set()


def without_memory_for_layers(run: Run) -> None:
    """Have PyTorch's allocator fail until layers are computed again for their gradients."""

    def allocate(*_: object) -> None:
        if not run.loaded.network.is_gradient_checkpointing:
            torch.empty(1 << 46)

    run.loaded.network.model.encoder.conv1.register_forward_pre_hook(allocate)


@pytest.mark.parametrize("given", [{}, {"gradientCheckpointing": "Auto"}, {"microBatchSize": 4}], ids=str)
def test_layers_are_computed_again_where_fewer_clips_do_not_help(many_clips: Path, given: dict[str, Any]) -> None:
    planned = Run(many_clips, batchSize=4, microBatchSize=given.get("microBatchSize", 1))
    expected = planned.train()
    short = Run(many_clips, batchSize=4, **given)
    without_memory_for_layers(short)
    assert short.train(last_step=5) == expected[:5]
    assert recomputing(short)
    resumed = Run(many_clips, batchSize=4, **given)
    resumed.backend.load_state(*short.backend.state())
    assert recomputing(resumed)


def test_layers_are_not_computed_again_where_the_user_says_so(many_clips: Path) -> None:
    run = Run(many_clips, gradientCheckpointing="Off")
    without_memory_for_layers(run)
    with pytest.raises(RuntimeError, match="you tried to allocate"):
        run.train()


def test_a_search_begins_anew_where_not_even_one_clip_fits(many_clips: Path) -> None:
    run = Run(many_clips, batchSize=17)
    without_memory_for_layers(run)
    short_of_memory(run, 9)
    run.backend.find_micro_batch()
    assert (run.backend.ran_on.micro_batch_size, recomputing(run)) == (9, True)


@pytest.mark.parametrize(("most_clips", "found"), [(40, 17), (5, 5), (4, 3), (1, 1), (0, 1)])
@pytest.mark.parametrize("trainable", ["All", "Decoder"])
def test_as_many_clips_go_through_at_once_as_fit(many_clips: Path, trainable: str, most_clips: int, found: int) -> None:
    run = Run(many_clips, trainable=trainable, batchSize=17, scratch_limit_bytes=0)
    short_of_memory(run, most_clips)
    run.backend.find_micro_batch()
    assert run.backend.ran_on.micro_batch_size == found
    assert all(weight.grad is None for weight in run.loaded.network.parameters())


@pytest.mark.parametrize("cached_bytes", [0, 100_000_000], ids=["computed", "cached"])
def test_finding_how_many_clips_fit_changes_nothing_of_the_training(many_clips: Path, cached_bytes: int) -> None:
    options: dict[str, Any] = {"trainable": "Decoder", "batchSize": 8, "scratch_limit_bytes": cached_bytes}
    searched = Run(many_clips / "drawing", **options)
    searched.backend.find_micro_batch()
    assert searched.backend.ran_on.micro_batch_size == 8
    losses = searched.train()
    planned = Run(many_clips / "drawing", **options)
    assert losses == planned.train()
    assert changed(searched.weights(), planned.weights()) == set()


def test_the_loss_falls(volume: Path) -> None:
    losses = Run(volume, steps=30, learningRate="0.003", trainable="Decoder").train(last_step=30)
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("scratch_limit_bytes", [0, 100_000_000], ids=["computed", "cached"])
def test_the_encoder_stays_as_it_is_where_only_the_decoder_is_trained(volume: Path, scratch_limit_bytes: int) -> None:
    run = Run(volume, trainable="Decoder", scratch_limit_bytes=scratch_limit_bytes)
    before = run.weights()
    run.train()
    moved = changed(before, run.weights())
    assert not any(name.startswith("model.encoder.") for name in moved)
    assert "model.decoder.layers.0.fc1.weight" in moved


def test_all_weights_are_trained_but_the_encoders_positions(volume: Path) -> None:
    run = Run(volume, trainable="All")
    before = run.weights()
    run.train()
    assert set(before) - changed(before, run.weights()) == {"model.encoder.embed_positions.weight"}
    assert run.loaded.network.model.encoder.embed_positions.num_embeddings == 600


@pytest.mark.parametrize("precision", ["Float", "Half"])
def test_the_cache_changes_no_bit_of_the_first_epoch_nor_of_later_ones(volume: Path, precision: str) -> None:
    # One clip at a time on both sides: a batch may be added up in another order.
    skip_without(precision)
    options: dict[str, Any] = {"trainable": "Decoder", "precision": precision, "batchSize": 1, "steps": 30}
    cached, computed = Run(volume, **options), Run(volume, scratch_limit_bytes=0, **options)
    assert cached.train(last_step=30) == computed.train(last_step=30)
    assert changed(cached.weights(), computed.weights()) == set()


@pytest.mark.parametrize(
    ("asked", "frames"),
    [({}, {500, 1000}), ({"window": "Fitted"}, {500, 1000}), ({"window": "Full"}, {1200})],
    ids=["nothing", "fitted", "full"],
)
def test_each_clip_is_trained_in_the_window_that_is_asked_for(
    volume: Path, asked: dict[str, str], frames: set[int]
) -> None:
    run = Run(volume, trainable="Decoder", **asked)
    heard: set[int] = set()
    run.loaded.network.model.encoder.conv1.register_forward_pre_hook(lambda _, inputs: heard.add(inputs[0].shape[-1]))
    run.train()
    assert heard == frames
    heard.clear()
    run.backend.transcribe(run.clips.evaluation, lambda _: None)
    assert heard == {1200}


def test_the_encoder_runs_once_a_clip_where_its_outputs_are_cached(volume: Path) -> None:
    run = Run(volume, trainable="Decoder", steps=30)
    heard: list[int] = []
    run.loaded.network.model.encoder.conv1.register_forward_pre_hook(lambda _, inputs: heard.append(len(inputs[0])))
    run.train(last_step=30)
    assert sum(heard) == len(run.clips.train.listed)
    for _ in range(2):
        run.backend.transcribe(run.clips.evaluation, lambda _: None)
    assert sum(heard) == len(run.clips.train.listed) + len(run.clips.evaluation)


def test_a_clip_is_encoded_with_its_group_whoever_asks_for_it(volume: Path) -> None:
    run = Run(volume)
    group = run.clips.train.listed[:3]
    outputs = EncoderOutputs(run.loaded.network, device.prepare_device("cpu", "Float", cpus=1), 80, lambda _: 12)
    outputs.use_cache("clips", [group], ScratchBudget("/tmp", 10**8))
    heard: list[int] = []
    run.loaded.network.model.encoder.conv1.register_forward_pre_hook(lambda _, inputs: heard.append(len(inputs[0])))
    one, all_of_them = outputs.of([group[1]]), outputs.of(group)
    assert heard == [3]
    assert torch.equal(one[0], all_of_them[1])


def test_a_full_scratch_folder_costs_the_cache_and_not_the_run(
    volume: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        run = Run(volume, trainable="Decoder", scratch_folder=str(tmp_path))
        assert len(run.train()) == STEPS
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
    assert "encoder outputs of train clips are not cached: no 2 MB in" in caplog.text


def test_the_cache_keeps_to_its_limit(volume: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    Run(volume, trainable="Decoder", scratch_limit_bytes=1_000_000)
    assert "encoder outputs of train clips are not cached" in caplog.text


def test_texts_come_in_the_order_of_the_clips_without_timestamps(tmp_path: Path) -> None:
    tiny_whisper.build(tmp_path / "model")
    tones.write_clips(tmp_path / "clips", 22, texts=("uno", "<|0.10|><|0.10|>due"))
    run = Run(tmp_path, steps=60, learningRate="0.003", trainable="All")
    run.train(last_step=60)
    told: list[int] = []
    # transformers reads timestamps as ends of segments and listens on from there, in features that it was not given.
    heard = run.backend.transcribe(run.clips.train.listed, told.append)
    assert {(transcript.text, transcript.is_cut) for transcript in heard} == {("uno", False), ("due", False)}
    assert told == [16, 18]
    one_by_one = [run.backend.transcribe([clip], told.append)[0] for clip in run.clips.train.listed[:6]]
    assert one_by_one == heard[:6]


def test_transcribing_changes_nothing_of_the_training(volume: Path) -> None:
    straight, interrupted = Run(volume), Run(volume)
    straight.train()
    for done in interrupted.backend.steps(0):
        if done.step in (1, 5):
            interrupted.backend.transcribe(interrupted.clips.evaluation, lambda _: None)
    assert changed(straight.weights(), interrupted.weights()) == set()


def test_an_english_only_model_is_trained_and_transcribes(tmp_path: Path, volume: Path) -> None:
    tiny_whisper.build(tmp_path / "model", english_only=True)
    shutil.copytree(volume / "clips", tmp_path / "clips")
    config = trainer_configs.config_on(
        tmp_path, {"language": "en", "training.steps": 2, "dataset.maxDroppedFraction": "0.5"}
    )
    loaded = model_loading.load_model(config)
    clips = clip_fitting.fit_clips(clip_loading.load_clips(config), loaded, config.accelerator)
    backend = TorchBackend(tiny_whisper.backend_settings(config), loaded, clips)
    assert [done.step for done in backend.steps(0)] == [1, 2]
    assert len(backend.transcribe(clips.evaluation, lambda _: None)) == len(clips.evaluation)


def test_a_loss_that_is_no_number_ends_the_run_before_a_weight_changes(volume: Path) -> None:
    run = Run(volume)
    with torch.no_grad():
        run.loaded.network.model.decoder.layers[0].fc1.weight[0, 0] = math.nan
    before = run.weights()
    with pytest.raises(TrainerError, match=r"the loss of step 1 is nan; lower training\.learningRate") as caught:
        run.train()
    assert caught.value.reason == "TrainingDiverged"
    assert all(torch.equal(before[name].nan_to_num(), weight.nan_to_num()) for name, weight in run.weights().items())


def test_a_learning_rate_that_is_far_too_high_ends_the_run(volume: Path) -> None:
    with pytest.raises(TrainerError) as caught:
        Run(volume, steps=40, learningRate="1e30").train(last_step=40)
    assert caught.value.reason == "TrainingDiverged"


def test_a_state_of_another_network_is_refused(volume: Path) -> None:
    tensors, values = Run(volume, trainable="Decoder").backend.state()
    with pytest.raises(TrainerError, match="holds other weights than this run trains"):
        Run(volume, trainable="All").backend.load_state(tensors, values)


def test_a_run_that_goes_on_in_another_precision_says_so(volume: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(volume, trainable="Decoder")
    tensors, values = run.backend.state()
    run.backend.load_state(tensors, values)
    assert caplog.text == ""
    run.backend.load_state(tensors, {**values, "precision": "Half"})
    assert "this run was in Half and goes on in Float" in caplog.text


def test_a_missing_accelerator_is_said(volume: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    run = Run(volume)
    config = run.config.model_copy(update={"accelerator": "cuda"})
    with pytest.raises(TrainerError, match="finds no CUDA device") as caught:
        TorchBackend(tiny_whisper.backend_settings(config), run.loaded, run.clips)
    assert caught.value.reason == "AcceleratorUnavailable"


class PlainTrainer(Seq2SeqTrainer):  # type: ignore[misc]  # transformers has no types
    """transformers' own trainer over batches in the order that they are given in."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def plain_examples(run: Run) -> Iterator[dict[str, torch.Tensor]]:
    extractor = WhisperFeatureExtractor(chunk_length=WINDOW_OF_EQUALITY)
    order: StepOrder[TrainStep] = StepOrder(
        run.clips.train,
        4,
        lambda block: train_steps.divide_into_batches(block, lambda _: WINDOW_OF_EQUALITY, StepSize(4, 4)),
    )
    with order.after(0) as steps:
        for clip in (clip for step, _ in islice(steps, STEPS) for batch in step for clip in batch.clips):
            samples = soundfile.read(clip.audio.file, dtype="float32")[0]
            features = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_features[0]
            # The model puts the start token before the labels itself.
            yield {"input_features": features, "labels": torch.tensor(run.loaded.tokenizer(clip.text).input_ids[1:])}


def collate(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    labels = torch.nn.utils.rnn.pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=-100)
    return {"input_features": torch.stack([row["input_features"] for row in rows]), "labels": labels}


def test_training_equals_that_of_transformers(tmp_path: Path) -> None:
    """In float32, in the full window, without a frozen encoder: the same weights as from transformers' trainer."""
    tiny_whisper.build(tmp_path / "model", window_seconds=WINDOW_OF_EQUALITY)
    tones.write_clips(tmp_path / "clips", 20)
    ours, plain = (Run(tmp_path, trainable="All", warmupFraction="0.2") for _ in range(2))
    start = plain.weights()
    losses = ours.train()
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=STEPS,
        per_device_train_batch_size=4,
        learning_rate=0.001,
        warmup_steps=2,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    trainer = PlainTrainer(
        model=plain.loaded.network, args=arguments, train_dataset=list(plain_examples(plain)), data_collator=collate
    )
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses == pytest.approx(logged, abs=1e-4)
    trained, expected = ours.weights(), plain.weights()
    assert max((trained[name] - weight).abs().max().item() for name, weight in start.items()) > 1e-3
    assert max((trained[name] - weight).abs().max().item() for name, weight in expected.items()) < 1e-6
