"""optimum-graphcore's own trainer with what it lacks: an order and a state to resume, a frozen encoder, a callback.

The library pickles its checkpoints. Nothing pickled is ever read from the run's folder. There the state is stored as
tensors and JSON, and the pickled files are made of them in the pod's own scratch folder.
"""

import json
import math
import random
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np
import torch
import transformers
from optimum.graphcore import IPUSeq2SeqTrainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME, WEIGHTS_NAME

from whisper_finetune_trainer.checkpoints import training_state
from whisper_finetune_trainer.ipu.clip_sampler import ClipSampler
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model.backend import AfterStep, StepDone

#: A seed, then the words of every IPU's generator state.
RandomState = List[int]


class IpuTrainer(IPUSeq2SeqTrainer):  # type: ignore[misc]  # the library has no types
    """Trains on clips in the order of a ClipSampler, and only the decoder where the encoder is frozen."""

    def __init__(self, order: ClipSampler, *, is_encoder_frozen: bool, **arguments: Any) -> None:
        """`arguments` are those of IPUSeq2SeqTrainer."""
        self._is_encoder_frozen = is_encoder_frozen
        self.order = order
        self.loss = math.nan
        self.learning_rate = math.nan
        #: From a checkpoint. It is kept here until there is a compiled model that takes it.
        self._resumed_random_state: Optional[RandomState] = None
        super().__init__(**arguments)
        # The run's reporter shows the progress.
        self.remove_callback(transformers.trainer_callback.PrinterCallback)

    def get_train_dataloader(self) -> Any:
        """Return the library's loader with a random generator of its own.

        The loader draws from its generator at the start of each pass. A resumed run begins a pass in the middle of the
        training, where a run that was not stopped does not. With the global generator the two would differ from there.
        """
        loader = super().get_train_dataloader()
        loader.generator = torch.Generator()
        return loader

    def create_optimizer(self) -> Any:
        """Return the library's optimizer, without the encoder's weights where the encoder is frozen.

        The encoder is frozen here and no earlier, because the library builds a network of its own, which forgets what
        was frozen before.
        """
        if self._is_encoder_frozen:
            self.model.get_encoder().requires_grad_(False)
        optimizer = super().create_optimizer()
        for group in optimizer.param_groups:
            group["params"] = [weight for weight in group["params"] if weight.requires_grad]
        return optimizer

    def generate(self, examples: Any, on_clip: Callable[[int], None]) -> Any:
        """Return the tokens that are heard, as a NumPy array (clips, at most max_length).

        Training and generation cannot have the IPUs at the same time. Between two steps of a training its model is
        detached, and attached again afterwards.
        """
        callback = PredictionCallback(on_clip)
        self.add_callback(callback)
        is_training = self.training_model is not None and self.training_model.isAttachedToDevice()
        if is_training:
            self._detach_training_model()
        tokens = self.predict(examples).predictions
        if is_training:
            self._reattach_training_model()
        self.remove_callback(callback)
        return tokens

    def take_prompt(self, settings: Any) -> None:
        """Generate from now on after the prompt of these generation settings.

        The compiled decoder has the prompt's tokens in it. So it is compiled anew where they differ.
        """
        if self.model.generation_config.forced_decoder_ids == settings.forced_decoder_ids:
            return
        for each in (self.model.config, self.model.generation_config):
            each.forced_decoder_ids = settings.forced_decoder_ids
        if hasattr(self.model, "poptorch_decoder"):
            self.model.poptorch_decoder.destroy()
            del self.model.poptorch_decoder

    def release_training_model(self) -> None:
        """Take the training's model off the IPUs, if it is there."""
        if self.training_model is not None and self.training_model.isAttachedToDevice():
            self._detach_training_model()

    def random_state(self) -> Optional[RandomState]:
        """Return seed and state of the IPUs' own generators. Dropout and stochastic rounding draw from them.

        Return None where nothing was compiled yet and nothing was resumed. The generators start from the seed then.
        """
        if self.training_model is None or not self.training_model.isCompiled():
            return self._resumed_random_state
        state: Optional[RandomState] = self.training_model.rng_state
        return state

    def resume_random_state(self, state: Optional[RandomState]) -> None:
        """Have the IPUs' generators go on from a state. With None they start from the seed."""
        self._resumed_random_state = state

    def take_up_random_state(self) -> None:
        """Give the resumed state to the compiled model. PopTorch does not take it before the model is compiled."""
        if self._resumed_random_state is not None:
            self.training_model.rng_state = self._resumed_random_state
            self._resumed_random_state = None

    def load_weights(self, folder: Path) -> None:
        """Load the weights of a checkpoint that is in the library's own format."""
        self._load_from_checkpoint(str(folder))

    def training_step(self, model: Any, inputs: Dict[str, Any]) -> torch.Tensor:
        """Take an optimizer step and return its loss. Raises TrainingDiverged where the loss is not finite."""
        # The rate is read before the step, because the step moves the schedule on.
        self.learning_rate = self._get_learning_rate()
        loss: torch.Tensor = super().training_step(model, inputs)
        self.loss = loss.item()
        if not math.isfinite(self.loss):
            step = self.state.global_step + 1
            raise TrainerError(
                "TrainingDiverged", f"the loss of step {step} is {self.loss}; lower training.learningRate"
            )
        return loss

    def _get_train_sampler(self) -> ClipSampler:
        return self.order


class StepCallback(transformers.TrainerCallback):  # type: ignore[misc]  # the library has no types
    """Tells the clip sampler and the training loop of every step."""

    def __init__(self, trainer: IpuTrainer, after_step: AfterStep) -> None:
        self._trainer = trainer
        self._after_step = after_step
        self._since = math.nan

    def on_train_begin(self, _arguments: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Set the resumed random state and start the clock. Everything is compiled by now."""
        self._trainer.take_up_random_state()
        self._since = time.monotonic()

    def on_step_end(self, _arguments: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell of the step, and end the training where the loop's answer is False."""
        seconds = time.monotonic() - self._since
        done = StepDone(state.global_step, self._trainer.loss, self._trainer.learning_rate, seconds)
        # The sampler first: a state that the loop saves says where the clips go on.
        self._trainer.order.took(state.global_step)
        if not self._after_step(done):
            control.should_training_stop = True
        self._since = time.monotonic()


class PredictionCallback(transformers.TrainerCallback):  # type: ignore[misc]  # the library has no types
    """Tells after each clip how many are transcribed."""

    def __init__(self, on_clip: Callable[[int], None]) -> None:
        self._on_clip = on_clip
        self._clips = 0

    def on_prediction_step(self, _arguments: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Count one clip: evaluation takes one at a time."""
        self._clips += 1
        self._on_clip(self._clips)


_WEIGHTS, _OPTIMIZER = "weights/", "optimizer/"
_RANDOM_FILE = "rng_state.pth"
#: The state of the IPUs' own random generators, which the library's checkpoints do not have.
_DEVICE_RANDOM, _DEVICE_SEED = "random/ipu", "deviceSeed"


def take_state(trainer: Any) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
    """Return the state of a trainer between two steps: tensors by name, and JSON values."""
    _copy_to_host(trainer)
    optimizer_tensors, optimizer = training_state.split_tensors(trainer.optimizer.state_dict(), _OPTIMIZER)
    random_tensors, random_values = training_state.capture_random_state()
    weights = {f"{_WEIGHTS}{name}": weight.detach() for name, weight in trainer.model.named_parameters()}
    device_tensors, device_values = _device_random_state(trainer.random_state())
    return {**weights, **optimizer_tensors, **random_tensors, **device_tensors}, {
        "step": trainer.state.global_step,
        "optimizer": optimizer,
        "schedule": trainer.lr_scheduler.state_dict(),
        "random": random_values,
        **device_values,
    }


def resume_device(trainer: Any, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
    """Set the IPUs' random generators to what `take_state` found. States of earlier versions do not have it."""
    if _DEVICE_RANDOM in tensors:
        trainer.resume_random_state([values[_DEVICE_SEED], *tensors[_DEVICE_RANDOM].tolist()])


def _device_random_state(state: Optional[List[int]]) -> Tuple[Dict[str, torch.Tensor], Dict[str, int]]:
    if state is None:
        return {}, {}
    # The seed is an unsigned integer of 64 bits, and torch has no such type.
    return {_DEVICE_RANDOM: torch.tensor(state[1:], dtype=torch.int64)}, {_DEVICE_SEED: state[0]}


def write_library_checkpoint(
    folder: Path, network: Any, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]
) -> None:
    """Write the library's checkpoint into an empty folder.

    Raises ConfigInvalid where the weights are not those of this network.
    """
    weights = {name[len(_WEIGHTS) :]: tensor for name, tensor in tensors.items() if name.startswith(_WEIGHTS)}
    if {name: weight.shape for name, weight in network.named_parameters()} != {
        name: weight.shape for name, weight in weights.items()
    }:
        raise TrainerError("ConfigInvalid", "the checkpoint holds other weights than this run trains")
    torch.save(weights, folder / WEIGHTS_NAME)
    torch.save(training_state.join_tensors(values["optimizer"], tensors), folder / OPTIMIZER_NAME)
    torch.save(values["schedule"], folder / SCHEDULER_NAME)
    (folder / TRAINER_STATE_NAME).write_text(json.dumps({"global_step": values["step"]}), encoding="utf-8")
    training_state.restore_random_state(tensors, values["random"])
    generators = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 -- the library restores the global generator
        "cpu": torch.get_rng_state(),
    }
    torch.save(generators, folder / _RANDOM_FILE)


@torch.no_grad()
def copy_weights(trainer: Any, network: Any) -> None:
    """Copy the weights that are on the IPUs into another network with the same parameter names."""
    _copy_to_host(trainer)
    weights = dict(trainer.model.named_parameters())
    for name, weight in network.named_parameters():
        weight.copy_(weights[name])


@torch.no_grad()
def take_weights(trainer: Any, network: Any) -> None:
    """Copy the weights of another network into the trainer's. The IPUs get them with the next evaluation.

    The training must be over: its own model on the IPUs would write its weights over these when it is detached.
    """
    trainer.release_training_model()
    weights = dict(trainer.model.named_parameters())
    for name, weight in network.named_parameters():
        weights[name].copy_(weight)


def _copy_to_host(trainer: Any) -> None:
    if trainer.training_model is not None and trainer.training_model.isAttachedToDevice():
        trainer.training_model.copyWeightsToHost()
