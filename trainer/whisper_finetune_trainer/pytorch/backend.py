"""The backend for GPUs and CPUs: a short training loop in plain PyTorch, which resumes exactly.

Clips are transcribed greedily in the model's full window, with the same code before and after training.
"""

import contextlib
import logging
import math
import time
from typing import Any, Callable, Dict, Generator, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from torch.nn.functional import cross_entropy

from whisper_finetune_api.planning import run_plan, training_memory
from whisper_finetune_api.planning.training_memory import MicroBatch
from whisper_finetune_api.v1alpha1.status import RanOn
from whisper_finetune_trainer.checkpoints import training_state
from whisper_finetune_trainer.data import source_files
from whisper_finetune_trainer.data.audio.decoding import POSITIONS_PER_SECOND
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.passages import TrainItem
from whisper_finetune_trainer.data.run_clips import Clips, StepOrder
from whisper_finetune_trainer.data.streams.stream_blocks import Block, Cursor
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import examples, sequential_transcription
from whisper_finetune_trainer.model.backend import AfterStep, BackendSettings, StepDone
from whisper_finetune_trainer.model.examples import ReplacementClips, Targets
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.sequential_transcription import NoTranscription, TranscribeRecordings
from whisper_finetune_trainer.pytorch import device, encoder_outputs, optimization, train_steps, transcription
from whisper_finetune_trainer.pytorch.encoder_outputs import EncoderOutputs, ScratchBudget
from whisper_finetune_trainer.pytorch.train_steps import Examples, StepMaker, StepSize, TrainStep, window_for

_PREFETCHED_STEPS = 4
_MEBIBYTE = 1 << 20
#: A status is not written for less.
_PEAK_STEP_BYTES = 64 * _MEBIBYTE
logger = logging.getLogger(__name__)


class TorchBackend:
    """Trains and evaluates a Whisper model on a GPU or a CPU."""

    def __init__(
        self,
        settings: BackendSettings,
        loaded: LoadedModel,
        clips: Clips,
        check_stop: Callable[[], None] = lambda: None,
        on_read: Callable[[], None] = lambda: None,
    ) -> None:
        """Move the network to its device and make it trainable. Raises AcceleratorUnavailable or ConfigInvalid.

        `check_stop` is called while a clip is waited for, and raises where the training is to end. `on_read` is called
        when more of a stream has been read.
        """
        training = self._training = settings.training
        self._device = device.prepare_device(settings.accelerator, training.precision, settings.cpus)
        self._schedule = settings.schedule
        self._loaded = loaded
        self._clips = clips
        self._check_stop = check_stop
        device.seed_generators(training.seed)
        self._network = loaded.network.to(self._device.torch_device).train()
        is_frozen = training.trainable == "Decoder"
        if is_frozen:
            self._network.model.encoder.requires_grad_(False)
        # These are fixed sinusoids. transformers wants to freeze them too, but forgets it when it loads a model.
        self._network.model.encoder.embed_positions.requires_grad_(False)
        self._optimizer = optimization.Optimizer(self._network)
        budget = ScratchBudget(settings.scratch_folder, settings.encoder_outputs_bytes)
        self._make_encoder_outputs()
        self._packing = examples.packing_rules(training, loaded)
        self._order = StepOrder(clips.train, training.batch_size, self._divide, check_stop, on_read)
        self._is_cached = is_frozen and self._use_cache(budget)
        self._begin_micro_batch(settings)
        if is_frozen:
            parts = (self._clips.evaluation, self._clips.validation)
            groups = [group for part in parts for group in transcription.transcription_groups(part)]
            self._full_outputs.use_cache("held-out clips", groups, budget)

    def _begin_micro_batch(self, settings: BackendSettings) -> None:
        listed = () if self._packing else self._clips.train.listed
        self._longest_window, self._longest_label = train_steps.longest_of(listed, self._loaded, self._window_of)
        self._recomputes = False
        if settings.training.gradient_checkpointing == "On":
            self._compute_again()
        self._micro_batch_size = settings.schedule.micro_batch_size
        is_open, is_card = settings.training.micro_batch_size is None, settings.accelerator == "cuda"
        self._is_searching = is_open and is_card
        if is_open and not is_card and settings.memory_bytes is not None:
            # Nothing on a CPU says what fits before the kernel kills.
            planned, estimated = self._micro_batch_size, self._estimated_bytes
            if self._may_recompute() and estimated(1) > settings.memory_bytes:
                self._compute_again()
            self._micro_batch_size = training_memory.largest_that_fits(planned, estimated, settings.memory_bytes)

    def _make_encoder_outputs(self) -> None:
        settings = self._loaded.feature_settings
        train = self._clips.train
        replacements = ReplacementClips(train.listed, train.max_dropped_fraction, self._window_of)
        self._train_outputs = EncoderOutputs(
            self._network, self._device, settings.mel_bins, self._window_of, replacements.read
        )
        self._full_outputs = EncoderOutputs(
            self._network, self._device, settings.mel_bins, lambda _: settings.window_seconds
        )
        self._make_step = StepMaker(self._loaded, self._train_outputs, replacements)

    def _divide(self, block: Block) -> List[TrainStep]:
        return self._divided(block, self._training.batch_size)

    def _divided(self, block: Block, micro_batch_size: int) -> List[TrainStep]:
        size = StepSize(self._training.batch_size, micro_batch_size)
        return train_steps.divide_into_batches(block, self._window_of, size, self._packing)

    def _use_cache(self, budget: ScratchBudget) -> bool:
        """Cache the encoder's outputs of train clips if they are the same each time. Return whether they are cached."""
        train = self._clips.train
        # Passages are others in each epoch.
        if self._packing or not train.listed or not encoder_outputs.is_deterministic(self._network.config):
            return False
        with train.blocks(Cursor(), self._training.batch_size, self._check_stop) as blocks:
            steps = self._divided(next(blocks), self._schedule.micro_batch_size)
            groups = [batch.clips for step in steps for batch in step]
        return self._train_outputs.use_cache("train clips", groups, budget)

    def _window_of(self, item: TrainItem) -> int:
        return window_for(item.seconds, self._loaded.feature_settings.window_seconds, self._training.window)

    @property
    def ran_on(self) -> RanOn:
        """The hardware, library versions and precision that are really used."""
        peak = -(-self._device.peak_bytes() // _PEAK_STEP_BYTES) * _PEAK_STEP_BYTES
        found: Dict[str, Any] = {"peak_mebibytes": peak // _MEBIBYTE}
        if not self._is_searching:
            size = self._micro_batch_size
            found.update(micro_batch_size=size, estimated_mebibytes=self._estimated_bytes(size) // _MEBIBYTE)
        if self._recomputes:
            found["gradient_checkpointing"] = True
        return self._device.ran_on.model_copy(update=found)

    def transcribe(self, clips: Sequence[Clip], on_clip: Callable[[int], None]) -> List[Transcript]:
        """Return the transcript of each clip in the full window, in order. `on_clip` is told how many are done."""
        self._network.eval()
        try:
            return transcription.transcribe_clips(
                self._loaded,
                self._device,
                clips,
                self._full_outputs.of,
                on_clip,
            )
        finally:
            self._network.train()

    def recording_transcriber(self) -> Union[TranscribeRecordings, NoTranscription]:
        """Return what transcribes recordings of minutes, with timestamps, or why nothing does."""
        return sequential_transcription.recording_transcriber(
            self._loaded, self._device.torch_device, self._device.autocast
        )

    def train(self, first_step: int, after_step: AfterStep) -> None:
        """Take the optimizer steps after `first_step` until `after_step` returns False.

        Raises TrainingDiverged or DatasetInvalid.
        """
        # Closed at once, however it ends, because reading ahead in a stream would delay the saving of the state.
        with contextlib.closing(self.steps(first_step)) as steps:
            for done in steps:
                if not after_step(done):
                    return

    def gather_weights(self) -> None:
        """Do nothing: the loaded model's network itself is trained."""

    def take_weights(self) -> None:
        """Do nothing: the loaded model's network itself hears."""

    def steps(self, first_step: int) -> Generator[StepDone, None, None]:
        """Take the optimizer steps after `first_step` up to the schedule's last, and yield each when it is done.

        Raises TrainingDiverged or DatasetInvalid.
        """
        if self._is_searching:
            self.find_micro_batch()
        numbers = range(first_step + 1, self._schedule.steps + 1)
        with self._order.after(first_step) as following:
            planned = (step for _, step in zip(numbers, following))
            started = time.monotonic()
            ready = train_steps.prepare_ahead(
                planned, self._make_step, self._threads(), _PREFETCHED_STEPS, self._check_stop
            )
            for number, prepared in zip(numbers, ready):
                loss, rate = self._take_step(number, prepared.batches)
                self._order.took(prepared.position)
                yield StepDone(number, loss, rate, time.monotonic() - started)
                started = time.monotonic()

    def _threads(self) -> int:
        """Return how many threads read clips. For a store it is at least one, so that a stop ends the wait for it."""
        threads = run_plan.FEATURE_THREADS[self._device.torch_device.type]
        is_remote = any(not source_files.is_local(clip.audio.file) for clip in self._clips.train.listed)
        return max(threads, int(is_remote))

    def find_micro_batch(self) -> None:
        """Have as many clips of the longest window go through the network at once as fit. The training stays as it is.

        A micro-batch is found once in a run: the state of the training has it.
        """
        random_state = training_state.capture_random_state()
        self._micro_batch_size = self._training.batch_size
        while not self._fits(self._micro_batch_size) and (self._micro_batch_size > 1 or self._may_recompute()):
            if self._micro_batch_size > 1:
                self._micro_batch_size = _half(self._micro_batch_size)
            else:
                self._compute_again()
                self._micro_batch_size = self._training.batch_size
            self._device.release_memory()
        training_state.restore_random_state(*random_state)
        self._is_searching = False
        logger.info("%d clips go through the network at once", self._micro_batch_size)

    def _estimated_bytes(self, clips: int) -> int:
        positions = self._longest_window * POSITIONS_PER_SECOND
        parts = -(-self._training.batch_size // clips)
        batch = MicroBatch(clips, positions, self._longest_label, parts, self._recomputes)
        return run_plan.memory_of(self._loaded.dimensions, self._training, batch, self._device.precision).peak

    def _may_recompute(self) -> bool:
        return self._training.gradient_checkpointing in {None, "Auto"} and not self._recomputes

    def _compute_again(self) -> None:
        """Have each layer computed again for its gradients from here on, which gives the same ones."""
        self._network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._recomputes = True
        logger.info("layers are computed again for their gradients, to save memory")

    def _fits(self, clips: int) -> bool:
        room = self._optimizer.room_for_moments()
        try:
            self._summed_loss(*self._longest(clips)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        except RuntimeError as error:
            if not self._device.is_out_of_memory(error):
                raise
            return False
        finally:
            self._optimizer.clear_gradients()
            room.clear()
        return True

    def _longest(self, clips: int) -> Tuple[int, Targets, Dict[str, Any]]:
        """Return the inputs of so many clips without sound, with the longest window and label of the train clips."""
        window = self._longest_window
        tokens = torch.full((clips, self._longest_label), self._loaded.tokenizer.eos_token_id)
        return window, Targets(tokens, tokens), self._train_outputs.silence(clips, window, encoded=self._is_cached)

    def _take_step(self, step: int, batches: List[Examples]) -> Tuple[float, float]:
        loss = self._add_gradients(batches)
        if not math.isfinite(loss):
            raise TrainerError("TrainingDiverged", f"the loss of step {step} is {loss}; lower training.learningRate")
        rate = optimization.learning_rate(step, self._schedule)
        self._optimizer.step(rate)
        return loss, rate

    def _add_gradients(self, batches: List[Examples]) -> float:
        """Return the loss of a step. Where memory runs out, all of its parts are computed again in smaller ones."""
        is_random = not encoder_outputs.draws_nothing(self._network.config)
        random_state = training_state.capture_random_state() if is_random else None
        loss = self._try_to_add_gradients(batches)
        while loss is None:
            largest = min(self._micro_batch_size, max(len(batch.clips) for batch in batches))
            if largest > 1 and self._training.micro_batch_size is None:
                self._micro_batch_size = _half(largest)
                logger.warning("out of memory: from here on %d clips go through at once", self._micro_batch_size)
            else:
                self._compute_again()
            self._optimizer.clear_gradients()
            self._device.release_memory()
            if random_state is not None:
                training_state.restore_random_state(*random_state)
            loss = self._try_to_add_gradients(batches)
        return loss

    def _try_to_add_gradients(self, batches: List[Examples]) -> Optional[float]:
        """Return the loss of a step, or None where memory ran out and smaller parts may help."""
        parts = [part for batch in batches for part in train_steps.split_examples(batch, self._micro_batch_size)]
        is_smallest = self._training.micro_batch_size is not None or all(len(part.clips) == 1 for part in parts)
        tokens = examples.tokens([batch.targets.labels for batch in batches])
        loss = 0.0
        try:
            for batch in parts:
                part = self._summed_loss(batch.window_seconds, batch.targets, self._heard(batch)) / tokens
                part.backward()  # type: ignore[no-untyped-call]  # the same
                loss += part.item()
        except RuntimeError as error:
            if (is_smallest and not self._may_recompute()) or not self._device.is_out_of_memory(error):
                raise
            return None
        return loss

    def _summed_loss(self, window_seconds: int, targets: Targets, heard: Dict[str, Any]) -> torch.Tensor:
        labels, inputs = (tensor.to(self._device.torch_device) for tensor in targets)
        with self._device.autocast(), encoder_outputs.shortened(self._network, window_seconds):
            hidden = self._network.model(**heard, decoder_input_ids=inputs, use_cache=False).last_hidden_state
            # The projection to the vocabulary is the largest product, so positions that do not count are left out.
            counted = labels != examples.IGNORED
            logits = self._network.proj_out(hidden[counted])
        return cross_entropy(logits.float(), labels[counted], reduction="sum")

    def _heard(self, batch: Examples) -> Dict[str, Any]:
        if self._is_cached:
            return {"encoder_outputs": (self._train_outputs.of(batch.clips, batch.features),)}
        features = torch.cat([batch.features[clip] for clip in batch.clips])
        return {"input_features": features.to(self._device.torch_device)}

    def state(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """Return what `load_state` needs to go on bit for bit. The tensors are live: write them before another step."""
        tensors, optimizer = self._optimizer.state()
        random_tensors, random_values = training_state.capture_random_state()
        values = {"optimizer": optimizer, "random": random_values, "precision": self._device.precision}
        found: Dict[str, Any] = {} if self._is_searching else {"microBatchSize": self._micro_batch_size}
        if self._recomputes:
            found["gradientCheckpointing"] = True
        return {**tensors, **random_tensors}, {**values, **found, **self._order.state()}

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what `state` returned. Raises ConfigInvalid where it belongs to another network."""
        before = values.get("precision", self._device.precision)
        if before != self._device.precision:
            logger.warning(
                "this run was in %s and goes on in %s, by this node's hardware: set training.precision to keep to one",
                before,
                self._device.precision,
            )
        self._optimizer.load_state(tensors, values["optimizer"])
        training_state.restore_random_state(tensors, values["random"])
        self._order.load_state(values)
        if self._training.micro_batch_size is None and "microBatchSize" in values:
            # Another size adds up in another order.
            self._micro_batch_size = values["microBatchSize"]
            self._is_searching = False
        if self._may_recompute() and values.get("gradientCheckpointing"):
            self._compute_again()


def _half(clips: int) -> int:
    return -(-clips // 2)
