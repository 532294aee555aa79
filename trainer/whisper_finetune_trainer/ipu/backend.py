"""The backend for IPUs: Graphcore's recipe through optimum-graphcore's own trainer."""

import contextlib
import logging
import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import optimum.graphcore
import poptorch
import torch
import transformers

from whisper_finetune_api.planning.ipu_plan import IpuPlan
from whisper_finetune_api.v1alpha1.status import RanOn
from whisper_finetune_trainer.checkpoints import training_state
from whisper_finetune_trainer.data.clips import Clip
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.ipu import assembly, environment, executable_cache, train_data
from whisper_finetune_trainer.ipu.examples import ClipError, ExampleMaker, Examples
from whisper_finetune_trainer.ipu.executable_cache import ExecutableCache
from whisper_finetune_trainer.ipu.trainer import (
    StepCallback,
    copy_weights,
    resume_device,
    take_state,
    take_weights,
    write_library_checkpoint,
)
from whisper_finetune_trainer.model import examples, generation
from whisper_finetune_trainer.model.backend import AfterStep, BackendSettings
from whisper_finetune_trainer.model.generation import Transcript
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.sequential_transcription import NoTranscription

logger = logging.getLogger(__name__)


class IpuBackend:
    """Trains and evaluates a Whisper model on IPUs."""

    def __init__(
        self,
        settings: BackendSettings,
        loaded: LoadedModel,
        clips: Clips,
        check_stop: Callable[[], None] = lambda: None,
        on_read: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait for the IPUs and make the trainer. Raises ConfigInvalid, DatasetInvalid or AcceleratorUnavailable.

        `check_stop` is called while a clip is waited for, and raises where the training is to end. `on_read` is called
        when more of a stream has been read.
        """
        plan = settings.layout()
        if clips.train.most_clips is not None:
            # First: too few clips are too few on any IPUs, so nobody need wait for them.
            train_data.refuse_too_few(clips.train.most_clips, plan)
        for warning in plan.warnings:
            logger.warning("%s", warning)
        environment.require_active_partition()
        # Before anything is compiled. Even `wait_for_ipus` compiles a program.
        cache = executable_cache.prepare_executable_cache(os.environ)
        environment.wait_for_ipus(poptorch, plan.ipus, settings.ipu_wait_seconds)
        self._scratch_folder = settings.scratch_folder
        self._loaded = loaded
        self._make_example = ExampleMaker(loaded, assembly.feature_type(settings.training))
        steps = settings.schedule.steps
        rules = examples.packing_rules(settings.training, loaded)
        data = train_data.of_clips(clips.train, plan, steps, self._make_example, check_stop, on_read, rules)
        self._trainer = assembly.make_trainer(settings, loaded, cache, data)
        self._generated = _generated_positions(loaded.network.generation_config.max_length, plan)
        self._resume_folder: Optional[Path] = None
        self._ran_on = RanOn(
            hardware=_hardware(plan, cache), software=_software(), precision=settings.training.precision or "Half"
        )

    @property
    def ran_on(self) -> RanOn:
        """Size and layout of the partition, library versions and precision. Emulated IPUs are named as such."""
        return self._ran_on

    def transcribe(self, clips: Sequence[Clip], on_clip: Callable[[int], None]) -> List[Transcript]:
        """Return the transcript of each clip, in order. `on_clip` is told how many are done.

        Raises TrainerError where a clip cannot be decoded.
        """
        # The library's loaders draw from the random state. Training must not depend on when something is evaluated.
        tensors, values = training_state.capture_random_state()
        self._trainer.take_prompt(self._loaded.network.generation_config)
        with _readable_clips():
            tokens = self._trainer.generate(Examples(clips, self._make_example), on_clip)
        training_state.restore_random_state(tensors, values)
        # Timestamps are the tokens after this one. transformers 4.29 writes them as text. Newer ones leave them out.
        last = self._loaded.network.generation_config.no_timestamps_token_id
        tokenizer, prompt = self._loaded.tokenizer, len(self._loaded.prompt_ids)
        rows = ([token for token in row[prompt : self._generated] if 0 <= token <= last] for row in tokens.tolist())
        return [
            generation.read_transcript(tokenizer, row, {tokenizer.eos_token_id}, clip.seconds)
            for clip, row in zip(clips, rows)
        ]

    def recording_transcriber(self) -> NoTranscription:
        """Return why recordings of minutes are not transcribed.

        transformers 4.29 does not seek by timestamps, and the program of the IPUs begins each text with one prompt.
        """
        return NoTranscription(
            "IPUs hear one window after a fixed prompt without timestamps: try the model on long recordings before you "
            "use it for them"
        )

    def train(self, first_step: int, after_step: AfterStep) -> None:
        """Take the optimizer steps after `first_step` until `after_step` returns False. Raises TrainerError.

        However it ends, a stream is read no further: reading on would delay the saving of the state.
        """
        self._trainer.add_callback(StepCallback(self._trainer, after_step))
        # The library knows the step from the checkpoint.
        resume_from = str(self._resume_folder) if first_step else None
        with _readable_clips(), self._trainer.order.after(first_step):
            self._trainer.train(resume_from_checkpoint=resume_from)

    def gather_weights(self) -> None:
        """Copy the weights, in float32, from the IPUs into the loaded model's network."""
        copy_weights(self._trainer, self._loaded.network)

    def take_weights(self) -> None:
        """Hear from now on with the weights that the loaded model's network has, once the training is over."""
        take_weights(self._trainer, self._loaded.network)

    def state(self) -> Tuple[Dict[str, torch.Tensor], Dict[str, Any]]:
        """Return what `load_state` needs to go on bit for bit. The tensors are live: write them before the next step.

        That has only been tested on emulated IPUs. In Half it depends on the IPUs' own random state, which decides how
        weights are rounded.
        """
        tensors, values = take_state(self._trainer)
        return tensors, {**values, **self._trainer.order.state()}

    def load_state(self, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Go on from what `state` returned. Raises ConfigInvalid where it belongs to another network."""
        folder = Path(tempfile.mkdtemp(prefix="resumed-", dir=self._scratch_folder))
        write_library_checkpoint(folder, self._trainer.model, tensors, values)
        self._trainer.load_weights(folder)
        resume_device(self._trainer, tensors, values)
        self._trainer.order.load_state(values)
        if self._resume_folder is not None:
            shutil.rmtree(self._resume_folder)
        self._resume_folder = folder


def _generated_positions(max_length: int, plan: IpuPlan) -> int:
    """Return how many positions of a text are generated, its start among them.

    The IPUs generate several tokens at a time and stop short of the limit, if the next ones would pass it. The library
    fills the positions after that with end tokens, although no text has ended there.
    """
    at_a_time = plan.on_device_generation_steps
    return 1 + (max_length - 1) // at_a_time * at_a_time if at_a_time else max_length


@contextlib.contextmanager
def _readable_clips() -> Iterator[None]:
    """Raise the TrainerError that a ClipError carries, also one from a loader's process."""
    try:
        yield
    except ClipError as error:
        raise error.cause() from error


def _hardware(plan: IpuPlan, cache: ExecutableCache) -> str:
    replicas = f"{plan.replication_factor} replica{'s' if plan.replication_factor > 1 else ''}"
    text = f"{plan.ipus} IPUs, {replicas} of {plan.ipus_per_replica}"
    return f"{text}, without executable cache ({cache.fault})"[:256] if cache.fault else text


def _software() -> str:
    emulated = " emulated" if getattr(poptorch, "__emulated__", False) else ""
    return (
        f"poptorch {poptorch.__version__}{emulated}, optimum-graphcore {optimum.graphcore.version.__version__}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}"
    )
