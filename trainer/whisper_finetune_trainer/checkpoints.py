"""Saving and resuming: states to go on from (resume/), and models that the user keeps (checkpoints/)."""

import logging
import time
from pathlib import Path
from typing import Mapping, Optional

import torch

from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_api.v1alpha1.status import Result, WordErrorRate
from whisper_finetune_trainer import checkpoint_state, model, model_card, reached
from whisper_finetune_trainer.backend import Backend, StepDone
from whisper_finetune_trainer.checkpoint_state import State
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.model import LoadedModel
from whisper_finetune_trainer.progress import Reporter
from whisper_finetune_trainer.run_folder import CHECKPOINTS, RESUME, RunFolder
from whisper_finetune_trainer.step_record import StepRecord

#: Two, so that one is left where the newest turns out to be damaged.
_KEPT_STATES = 2
logger = logging.getLogger(__name__)


class Checkpoints:
    """What the run can go back to; every method that writes tells the reporter."""

    def __init__(
        self,
        config: TrainerConfig,
        folder: RunFolder,
        backend: Backend,
        loaded: LoadedModel,
        reporter: Reporter,
        data_digest: str,
        steps: StepRecord,
    ) -> None:
        """`data_digest` is of the train clips; `steps` becomes what the state that is resumed from holds of it."""
        self._config = config
        self._folder = folder
        self._backend = backend
        self._loaded = loaded
        self._reporter = reporter
        self._data_digest = data_digest
        self._steps = steps
        self._saved_step = 0
        self._saved_at = time.monotonic()

    def resume(self) -> int:
        """Load the newest whole state and return its step, 0 where there is none."""
        self._tell()
        stored = self._folder.newest_to_resume()
        if stored is None:
            return 0
        state = checkpoint_state.read(self._folder.local(stored.path))
        if state.values["data"] != self._data_digest:
            logger.warning("the train clips are not those that %s was made with; going on all the same", stored.path)
        self._backend.load_state(state.tensors, state.values["backend"])
        self._steps.restore(state.values["steps"])
        self._saved(stored.manifest.step)
        logger.info("resumed from %s", stored.path)
        return stored.manifest.step

    def record(self, done: StepDone) -> None:
        """Take a step into what the next state keeps of the steps before it."""
        self._steps.add(done)

    def save_state(self, step: int) -> None:
        """Write a state to go on from, unless that of this step is the newest already."""
        if step == self._saved_step:
            return
        tensors, values = self._backend.state()
        _require_finite(tensors, step)
        state = State(tensors, {"backend": values, "data": self._data_digest, "steps": self._steps.values()})
        self._folder.write_folder(_path(RESUME, step), step, lambda folder: checkpoint_state.write(folder, state))
        self._folder.prune(RESUME, _KEPT_STATES)
        self._saved(step)
        self._tell()

    def seconds_since_state(self) -> float:
        """Return how much work a kill would cost now: seconds since the newest state, or since the attempt began."""
        return time.monotonic() - self._saved_at

    def save_model(self, step: int, figures: Optional[WordErrorRate], also_keep: Optional[int] = None) -> None:
        """Write the model as it is now for the user; older ones go, except for that of the step `also_keep`."""
        result = Result(**figures.model_dump()) if figures else None
        card = model_card.model_card(self._config, self._reporter.report(), step, result)
        self._backend.gather_weights()
        self._folder.write_folder(
            _path(CHECKPOINTS, step),
            step,
            lambda folder: model.save_model(self._loaded, folder, card),
            wer=figures.wer if figures else None,
        )
        kept = frozenset() if also_keep is None else frozenset((also_keep,))
        self._folder.prune(CHECKPOINTS, self._config.spec.output.keep_checkpoints, kept)
        self._tell()

    def model_of(self, step: int) -> Optional[Path]:
        """Return the folder of the model that the user keeps of a step, else None."""
        path = _path(CHECKPOINTS, step)
        return self._folder.local(path) if self._folder.stored(path) else None

    def _saved(self, step: int) -> None:
        self._saved_step = step
        self._saved_at = time.monotonic()

    def _tell(self) -> None:
        self._reporter.tell(checkpoints=reached.checkpoints(self._folder, (CHECKPOINTS, RESUME)))


def _require_finite(tensors: Mapping[str, torch.Tensor], step: int) -> None:
    # The last step's loss was finite before its update: only the weights show what the update did.
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise TrainerError(
            "TrainingDiverged",
            f"{len(broken)} tensors are no longer finite numbers after step {step}, among them {broken[0]}; "
            "lower training.learningRate",
        )


def _path(kind: str, step: int) -> str:
    return f"{kind}/checkpoint-{step}"
