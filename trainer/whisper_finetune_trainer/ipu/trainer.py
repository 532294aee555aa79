"""optimum-graphcore's own trainer, with what it lacks: an order that can be resumed, a frozen encoder, a callback."""

import math
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import torch
import transformers
from optimum.graphcore import IPUSeq2SeqTrainer

from whisper_finetune_trainer.backend import AfterStep, StepDone
from whisper_finetune_trainer.ipu.clip_sampler import ClipSampler
from whisper_finetune_trainer.messages.errors import TrainerError

#: A seed, and the words of the generators of every IPU.
RandomState = List[int]


class IpuTrainer(IPUSeq2SeqTrainer):  # type: ignore[misc]  # the library has no types
    """Trains on clips in our order and, where asked to, the decoder alone."""

    def __init__(self, order: ClipSampler, *, is_encoder_frozen: bool, **arguments: Any) -> None:
        """`arguments` are the library's own."""
        self._is_encoder_frozen = is_encoder_frozen
        self.order = order
        self.loss = math.nan
        self.learning_rate = math.nan
        #: Of a checkpoint, until there is a compiled model that takes it.
        self._resumed_random_state: Optional[RandomState] = None
        super().__init__(**arguments)
        # Our reporter shows the progress.
        self.remove_callback(transformers.trainer_callback.PrinterCallback)

    def get_train_dataloader(self) -> Any:
        """Return the library's loader with a random generator of its own.

        Each pass draws from it, and a resumed run begins a pass where one that was not stopped goes on with its own.
        """
        loader = super().get_train_dataloader()
        loader.generator = torch.Generator()
        return loader

    def create_optimizer(self) -> Any:
        """Return the library's optimizer, without the encoder where that is frozen.

        Here, because the library builds a network of its own, which forgets what was frozen before.
        """
        if self._is_encoder_frozen:
            self.model.get_encoder().requires_grad_(False)
        optimizer = super().create_optimizer()
        for group in optimizer.param_groups:
            group["params"] = [weight for weight in group["params"] if weight.requires_grad]
        return optimizer

    def generate(self, examples: Any, on_clip: Callable[[int], None]) -> Any:
        """Return the tokens (clips, at most max_length) that are heard, as NumPy has them.

        Training and generation cannot hold the IPUs at once: where it is called between two steps, they change places.
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

    def random_state(self) -> Optional[RandomState]:
        """Return seed and state of the IPUs' own generators: dropout and stochastic rounding draw from them.

        None where nothing was compiled yet, and nothing was resumed: they start from the seed then.
        """
        if self.training_model is None or not self.training_model.isCompiled():
            return self._resumed_random_state
        state: Optional[RandomState] = self.training_model.rng_state
        return state

    def resume_random_state(self, state: Optional[RandomState]) -> None:
        """Have the IPUs go on from here; None: from the seed."""
        self._resumed_random_state = state

    def take_up_random_state(self) -> None:
        """Give what was resumed to the model, which is compiled by now: PopTorch takes it no earlier."""
        if self._resumed_random_state is not None:
            self.training_model.rng_state = self._resumed_random_state
            self._resumed_random_state = None

    def load_weights(self, folder: Path) -> None:
        """Take over the weights of a checkpoint in the library's own files."""
        self._load_from_checkpoint(str(folder))

    def training_step(self, model: Any, inputs: Dict[str, Any]) -> torch.Tensor:
        """Take an optimizer step and return its loss; TrainingDiverged where that is no finite number."""
        # Before the step, after which the schedule goes on.
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
    """Tells the order of the clips, and our loop, of every step."""

    def __init__(self, trainer: IpuTrainer, after_step: AfterStep) -> None:
        self._trainer = trainer
        self._after_step = after_step
        self._since = math.nan

    def on_train_begin(self, _arguments: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Take up the random state and begin to time: everything is compiled by now."""
        self._trainer.take_up_random_state()
        self._since = time.monotonic()

    def on_step_end(self, _arguments: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell of the step, and end the training where that is the answer."""
        seconds = time.monotonic() - self._since
        done = StepDone(state.global_step, self._trainer.loss, self._trainer.learning_rate, seconds)
        # First: what is saved after the step says where the clips go on.
        self._trainer.order.took(state.global_step)
        if not self._after_step(done):
            control.should_training_stop = True
        self._since = time.monotonic()


class PredictionCallback(transformers.TrainerCallback):  # type: ignore[misc]  # the library has no types
    """Tells how many clips are transcribed."""

    def __init__(self, on_clip: Callable[[int], None]) -> None:
        self._on_clip = on_clip
        self._clips = 0

    def on_prediction_step(self, _arguments: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Count one clip: evaluation takes one at a time."""
        self._clips += 1
        self._on_clip(self._clips)
