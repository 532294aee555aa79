"""The unmodified optimum-graphcore on the emulation equals a plain loop over the same batches."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
import spoken_patterns as data
import torch
from optimum.graphcore import IPUConfig, IPUSeq2SeqTrainer, IPUSeq2SeqTrainingArguments
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.trainer_pt_utils import get_parameter_names

STEPS, WARMUP_STEPS, REPLICAS, ACCUMULATION = 4, 1, 2, 9
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.1
BETAS, EPSILON = (0.9, 0.999), 1e-8
ENCODER_LAYERS = DECODER_LAYERS = 4

Batch = Dict[str, torch.Tensor]


class RecordingTrainer(IPUSeq2SeqTrainer):
    """The library's trainer, which also notes each batch and its loss."""

    def __init__(self, **arguments: Any) -> None:
        self.seen: List[Tuple[Batch, float]] = []
        super().__init__(**arguments)

    def training_step(self, model: Any, inputs: Batch) -> torch.Tensor:
        loss = super().training_step(model, inputs)
        self.seen.append(({name: value.clone() for name, value in inputs.items()}, loss.item()))
        return loss


@dataclass
class Trained:
    """Both ways from the same start."""

    trainer: RecordingTrainer
    plain: WhisperForConditionalGeneration
    plain_losses: List[List[float]]


def tiny_whisper() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    forced = list(enumerate(data.PROMPT, start=1))
    config = WhisperConfig(
        vocab_size=data.VOCABULARY, num_mel_bins=data.MELS, encoder_layers=ENCODER_LAYERS,
        decoder_layers=DECODER_LAYERS, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128,
        decoder_ffn_dim=128, d_model=64, max_source_positions=data.FRAMES // 2, max_target_positions=64, dropout=0.0,
        pad_token_id=data.END, bos_token_id=data.END, eos_token_id=data.END, decoder_start_token_id=data.START,
        begin_suppress_tokens=None, suppress_tokens=[], forced_decoder_ids=forced, max_length=data.MAX_LENGTH,
        init_std=0.3,  # enough for generated sequences that differ from clip to clip
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    model.generation_config.max_length = data.MAX_LENGTH
    model.generation_config.forced_decoder_ids = forced
    model.generation_config.suppress_tokens = []
    return model


def library_trainer(model: WhisperForConditionalGeneration, folder: Path) -> RecordingTrainer:
    generation = {"use_cache": True, "use_encoder_output_buffer": True, "on_device_generation_steps": 4}
    ipu_config = IPUConfig.from_dict(
        {
            "gradient_accumulation_steps": ACCUMULATION,
            "replication_factor": REPLICAS,
            "layers_per_ipu": [2, 2, 2, 2],
            "matmul_proportion": [0.2] * 4,
            "projection_serialization_factor": 5,
            "inference_replication_factor": 1,
            "inference_layers_per_ipu": [4, 4],
            "inference_parallelize_kwargs": generation,
            "executable_cache_dir": str(folder / "executables"),
            "recompute_checkpoint_every_layer": True,
        }
    )
    arguments = IPUSeq2SeqTrainingArguments(
        output_dir=str(folder), predict_with_generate=True, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY,
        warmup_steps=WARMUP_STEPS, max_steps=STEPS, save_strategy="no", fp32=True, disable_tqdm=True, seed=7,
    )  # fmt: skip
    return RecordingTrainer(
        model=model, ipu_config=ipu_config, args=arguments, train_dataset=data.Clips(128, seed=2),
        eval_dataset=data.Clips(8, seed=3), data_collator=data.collate, compute_metrics=lambda _: {},
    )  # fmt: skip


def learning_rate(step: int) -> float:
    """Return the linear schedule's rate at a step, counted from 0."""
    if step < WARMUP_STEPS:
        return LEARNING_RATE * step / WARMUP_STEPS
    return LEARNING_RATE * (STEPS - step) / (STEPS - WARMUP_STEPS)


def train_plainly(model: WhisperForConditionalGeneration, batches: List[Batch]) -> List[List[float]]:
    """Train with AdamW without bias correction, written out; return each step's loss for each micro-batch."""
    decayed = {name for name in get_parameter_names(model, [torch.nn.LayerNorm]) if "bias" not in name}
    moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in model.named_parameters()}
    model.train()
    losses = []
    for step, batch in enumerate(batches):
        losses.append(accumulate(model, batch))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                first, second = moments[name]
                first.mul_(BETAS[0]).add_((1 - BETAS[0]) * parameter.grad)
                second.mul_(BETAS[1]).add_((1 - BETAS[1]) * parameter.grad**2)
                decay = WEIGHT_DECAY * parameter if name in decayed else 0
                parameter.sub_(learning_rate(step) * (first / (second.sqrt() + EPSILON) + decay))
    return losses


def accumulate(model: WhisperForConditionalGeneration, batch: Batch) -> List[float]:
    """Leave the mean gradient of the micro-batches in the model; return their losses."""
    count = ACCUMULATION * REPLICAS
    model.zero_grad()
    losses = []
    for features, labels in zip(batch["input_features"].chunk(count), batch["labels"].chunk(count)):
        loss = model(input_features=features, labels=labels).loss
        (loss / count).backward()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.set_num_threads(1)
    model = tiny_whisper()
    plain = copy.deepcopy(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUM_AVAILABLE_IPU", "8")
        trainer = library_trainer(model, tmp_path_factory.mktemp("trainer"))
        trainer.train()
    return Trained(trainer, plain, train_plainly(plain, [batch for batch, _ in trainer.seen]))


def test_all_parameters_equal_those_of_a_plain_loop(trained: Trained) -> None:
    found = dict(trained.trainer.model.named_parameters())
    expected = dict(trained.plain.named_parameters())
    assert len(expected) == 167
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def test_parameters_were_trained(trained: Trained) -> None:
    start = dict(tiny_whisper().named_parameters())
    assert not any(torch.equal(start[name], value) for name, value in trained.trainer.model.named_parameters())


def test_the_loss_is_the_mean_over_the_last_micro_batch_of_each_replica(trained: Trained) -> None:
    expected = [np.mean(losses[-REPLICAS:]) for losses in trained.plain_losses]
    assert [loss for _, loss in trained.trainer.seen] == pytest.approx(expected, abs=1e-5)


def test_generated_sequences_equal_generate(trained: Trained) -> None:
    clips = data.Clips(8, seed=5)
    found = trained.trainer.predict(clips).predictions
    features = data.collate(clips.items)["input_features"]
    with torch.no_grad():
        expected = trained.plain.eval().generate(features, max_length=data.MAX_LENGTH, num_beams=1)
    # Generation on the device stops up to `on_device_generation_steps` short of the maximum length.
    assert [words(row) for row in found.tolist()] == [words(row) for row in expected.tolist()]
    assert len({tuple(words(row)) for row in expected.tolist()}) > 1


def words(row: List[int]) -> List[int]:
    ends = [place for place, token in enumerate(row) if token == data.END and place]
    return row[: min([*ends, data.MAX_LENGTH - 4])]
