"""What the trainer does on emulated IPUs equals a plain Hugging Face loop over the same batches."""

import copy
from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import ipu_runs
import pytest
import torch
from ipu_runs import IpuVolume, Run

from whisper_finetune_trainer.ipu.examples import ExampleMaker, Examples
from whisper_finetune_trainer.ipu.trainer import IpuTrainer
from whisper_finetune_trainer.model.backend import StepDone
from whisper_finetune_trainer.pytorch import optimization

STEPS = 4
MAX_LENGTH = 32
#: On-device generation goes on in blocks of 16 tokens, the last of which must end below the limit.
LAST_GENERATED = 17
BETAS, EPSILON = (0.9, 0.999), 1e-8
LARGEST_DIFFERENCE = 1e-5

Batch = Dict[str, torch.Tensor]
Weights = Dict[str, torch.Tensor]


@dataclass
class Trained:
    """A run on IPUs, the same in plain PyTorch, and what was seen of both."""

    run: Run
    plain: Any
    steps: List[StepDone]
    plain_losses: List[float]
    start: Weights


@pytest.fixture(scope="module", params=[1, 2], ids=["1 replica", "2 replicas"])
def trained(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("volume")
    volume = IpuVolume(ipu_runs.write_speech(folder), folder)
    replicas: int = request.param
    config = volume.config(ipus=replicas * ipu_runs.IPUS, steps=replicas * STEPS, warmupFraction="0.25")
    run = Run(config)
    assert run.config.schedule.replicas == replicas
    assert run.config.schedule.steps == STEPS
    plain = copy.deepcopy(run.loaded.network)
    start = weights_of(plain)
    with pytest.MonkeyPatch.context() as patch:
        batches = recorded_batches(patch)
        steps: List[StepDone] = []
        run.backend.train(0, lambda done: steps.append(done) is None)
    losses = train_plainly(plain, batches, run.config.schedule)
    run.backend.gather_weights()
    return Trained(run, plain, steps, losses, start)


def recorded_batches(patch: pytest.MonkeyPatch) -> List[Batch]:
    batches: List[Batch] = []
    original = IpuTrainer.training_step

    def training_step(self: IpuTrainer, model: Any, inputs: Batch) -> torch.Tensor:
        batches.append({name: value.clone() for name, value in inputs.items()})
        return original(self, model, inputs)

    patch.setattr(IpuTrainer, "training_step", training_step)
    return batches


def train_plainly(network: Any, batches: List[Batch], schedule: Any) -> List[float]:
    """Train as the library's AdamW does, without bias correction; return the loss that IPUs would report."""
    first: Weights = {}
    second: Weights = {}
    losses = []
    network.train()
    for number, batch in enumerate(batches, start=1):
        micro_batches = len(batch["labels"]) // schedule.micro_batch_size
        network.zero_grad()
        of_micro_batches = []
        for features, labels in zip(batch["input_features"].chunk(micro_batches), batch["labels"].chunk(micro_batches)):
            loss = network(input_features=features, labels=labels).loss
            (loss / micro_batches).backward()
            of_micro_batches.append(loss.item())
        losses.append(sum(of_micro_batches[-schedule.replicas :]) / schedule.replicas)
        update(network, first, second, optimization.learning_rate(number, schedule))
    return losses


@torch.no_grad()
def update(network: Any, first: Weights, second: Weights, rate: float) -> None:
    for name, weight in network.named_parameters():
        gradient = weight.grad
        first[name] = BETAS[0] * first.get(name, torch.zeros(())) + (1 - BETAS[0]) * gradient
        second[name] = BETAS[1] * second.get(name, torch.zeros(())) + (1 - BETAS[1]) * gradient**2
        weight.sub_(rate * first[name] / (second[name].sqrt() + EPSILON))


def weights_of(network: Any) -> Weights:
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


def largest_difference(one: Weights, other: Weights) -> Tuple[float, str]:
    assert one.keys() == other.keys()
    return max(((one[name] - other[name]).abs().max().item(), name) for name in one)


def test_every_weight_is_what_a_plain_loop_makes_of_it(trained: Trained) -> None:
    ours, plain = weights_of(trained.run.loaded.network), weights_of(trained.plain)
    assert len(ours) > 70
    assert largest_difference(ours, plain)[0] <= LARGEST_DIFFERENCE
    # Every weight has moved by far more than that, or nothing would be shown.
    moved = [name for name in ours if largest_difference({name: ours[name]}, {name: trained.start[name]})[0] > 1e-4]
    assert sorted(moved) == sorted(ours)


def test_losses_and_learning_rates_are_those_of_the_plain_loop(trained: Trained) -> None:
    assert [done.step for done in trained.steps] == [1, 2, 3, 4]
    assert [done.loss for done in trained.steps] == pytest.approx(trained.plain_losses, abs=1e-5)
    schedule = trained.run.config.schedule
    rates = [optimization.learning_rate(step, schedule) for step in range(1, STEPS + 1)]
    assert [done.learning_rate for done in trained.steps] == pytest.approx(rates)
    assert all(done.seconds > 0 for done in trained.steps)


def test_what_is_generated_is_what_generate_says(trained: Trained) -> None:
    run, clips = trained.run, trained.run.clips.evaluation
    examples = Examples(clips, ExampleMaker(run.loaded, "float32"))
    counts: List[int] = []
    tokens = run.backend._trainer.generate(examples, counts.append)
    assert counts == list(range(1, len(clips) + 1))
    features = torch.stack([torch.from_numpy(example["input_features"]) for example in examples])
    plain = run.loaded.network.eval().generate(features, max_length=MAX_LENGTH, num_beams=1)[:, :LAST_GENERATED]
    assert tokens[:, :LAST_GENERATED].tolist() == plain.tolist()
    assert len({tuple(row) for row in plain.tolist()}) > 1
    assert set(tokens[:, LAST_GENERATED:].flatten().tolist()) == {run.loaded.tokenizer.eos_token_id}
    timestamps = run.loaded.prompt_ids[-1]
    spoken = [[token for token in row if token <= timestamps] for row in plain.tolist()]
    texts = run.loaded.tokenizer.batch_decode(spoken, skip_special_tokens=True)
    heard = run.backend.transcribe(clips, counts.append)
    assert [transcript.text for transcript in heard] == [text.strip() for text in texts]
    # The library fills a text that the limit ended with end tokens too.
    ended = [run.loaded.tokenizer.eos_token_id in row for row in plain.tolist()]
    assert [transcript.ran_into_a_limit for transcript in heard] == [not each for each in ended]


def test_ran_on_says_that_it_was_emulated(trained: Trained) -> None:
    ran_on = trained.run.backend.ran_on
    replicas = trained.run.config.schedule.replicas
    assert ran_on.hardware == {1: "2 IPUs, 1 replica of 2", 2: "4 IPUs, 2 replicas of 2"}[replicas]
    assert ran_on.software.startswith("poptorch 3.3.0 emulated, optimum-graphcore 0.7.1, torch 2.0.1")
    assert ran_on.precision == "Float"
