"""Saving and resuming: training states to go on from (resume/), and models that the user keeps (checkpoints/)."""

import contextlib
import logging
import time
from pathlib import Path
from typing import Callable, ContextManager, Mapping, Optional, Sequence, Tuple

import torch

from whisper_finetune_api.v1alpha1.scores import Result, WordErrorRate
from whisper_finetune_trainer.checkpoints import earlier_attempts, training_state
from whisper_finetune_trainer.checkpoints.step_record import StepRecord
from whisper_finetune_trainer.checkpoints.training_state import State
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model import model, model_folder
from whisper_finetune_trainer.model.backend import Backend, StepDone
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.output import folder_manifest
from whisper_finetune_trainer.output.folder_manifest import StoredFolder
from whisper_finetune_trainer.output.run_folder import CHECKPOINTS, RESUME, RunFolder
from whisper_finetune_trainer.progress.progress import Reporter

#: Two, so that one is left if the newest is damaged.
_KEPT_STATES = 2
#: Returns the README.md for the model of a step. The figures are those of this model, None where it was not evaluated.
CardOf = Callable[[int, Optional[Result]], str]
logger = logging.getLogger(__name__)


class Checkpoints:
    """Writes and reads the states and models of a run. Every method that writes tells the reporter."""

    def __init__(
        self,
        keep: int,
        card_of: CardOf,
        folder: RunFolder,
        backend: Backend,
        loaded: LoadedModel,
        reporter: Reporter,
        data_digest: str,
        steps: StepRecord,
    ) -> None:
        """The newest `keep` models and the best one are kept.

        `data_digest` is that of the train clips. `resume` restores `steps` from the state that it loads.
        """
        self._keep = keep
        self._card_of = card_of
        self._folder = folder
        self._backend = backend
        self._loaded = loaded
        self._reporter = reporter
        self._data_digest = data_digest
        self._steps = steps
        self._saved_step = 0
        self._saved_at = time.monotonic()

    def resume(self) -> int:
        """Load the newest whole state and return its step.

        Return 0 where there is no state, or where it was trained on other clips.
        """
        step = self._load_newest()
        self._folder.forget_states_after(step)
        self._tell()
        return step

    def _load_newest(self) -> int:
        with self._folder.newest_to_resume() as opened:
            if opened is None:
                return 0
            state = training_state.read_state(opened.local)
            path, step = opened.stored.path, opened.stored.manifest.step
            is_of_other_clips = state.values["data"] != self._data_digest
            if not is_of_other_clips:
                self._backend.load_state(state.tensors, state.values["backend"])
        if is_of_other_clips:
            # The split is drawn anew too. The state may be trained on clips that are held out now.
            logger.warning("the data set has changed since %s was made: training begins anew at step 0", path)
            self._folder.forget_all_steps()
            return 0
        self._steps.restore(state.values["steps"])
        self._saved(step)
        logger.info("resumed from %s", path)
        return step

    def record(self, done: StepDone) -> None:
        """Add a step to the record that the next state saves. Raises TrainerError of a write in the background."""
        self._folder.check()
        self._steps.add(done)

    def save_state(self, step: int) -> None:
        """Write a state to go on from, unless the newest state is of this step.

        Raises TrainingDiverged where a weight is not finite.
        """
        if step == self._saved_step or not self._folder.outlives_the_pod:
            return
        tensors, values = self._backend.state()
        _require_finite(tensors, step)
        state = State(tensors, {"backend": values, "data": self._data_digest, "steps": self._steps.values()})
        self._folder.write_folder(_path(RESUME, step), step, lambda folder: training_state.write_state(folder, state))
        self._folder.prune(RESUME, _KEPT_STATES)
        self._saved(step)
        self._folder.after_writes(self._tell)

    def save_last_state(self, step: int) -> None:
        """Write a state before the attempt ends. To save time, older states that wait to be written are dropped."""
        if step != self._saved_step:
            self._folder.drop_waiting_states()
        self.save_state(step)

    def seconds_since_state(self) -> float:
        """Return the seconds since the newest state, or since the attempt began. A kill would cost that much work."""
        return time.monotonic() - self._saved_at

    def save_model(self, step: int, figures: Optional[WordErrorRate], also_keep: Optional[int] = None) -> None:
        """Write the model as it is now for the user. Older models are removed, but not that of the step `also_keep`."""
        result = Result(**figures.model_dump()) if figures else None
        card = self._card_of(step, result)
        self._backend.gather_weights()
        self._folder.write_folder(
            _path(CHECKPOINTS, step),
            step,
            lambda folder: model.save_model(self._loaded, folder, card),
            figures=figures,
        )
        kept = frozenset() if also_keep is None else frozenset((also_keep,))
        self._folder.prune(CHECKPOINTS, self._keep, kept)
        self._folder.after_writes(self._tell)

    def model_of(self, step: int) -> Optional[StoredFolder]:
        """Return the model that was kept after a step, or None."""
        return self._folder.stored(_path(CHECKPOINTS, step))

    def is_intact(self, step: int) -> bool:
        """Return whether the kept model of a step is what was written. It reads the whole model."""
        stored = self.model_of(step)
        if stored is None:
            return False
        with self.reading(stored) as opened:
            changed = folder_manifest.first_changed_file(stored.manifest, opened)
        if changed:
            logger.warning("%s/%s is damaged: it cannot become the final model", stored.path, changed)
        return changed is None

    def load_model(self, stored: StoredFolder) -> None:
        """Have the backend hear with a kept model, once the training is over."""
        with self.reading(stored) as opened:
            model_folder.read_weights(self._loaded.network, opened)
        self._backend.take_weights()

    def load_mixture(self, before: Mapping[str, torch.Tensor], stored: StoredFolder, factor: float) -> None:
        """Have the backend hear with weights between those `before` (0) and those of a kept model (1), or beyond."""
        with self.reading(stored) as opened:
            model_folder.mix_weights(self._loaded.network, before, opened, factor)
        self._backend.take_weights()

    def load_mean(self, stored: Sequence[StoredFolder]) -> None:
        """Have the backend hear with the mean of kept models."""
        with contextlib.ExitStack() as stack:
            folders = [stack.enter_context(self.reading(each)) for each in stored]
            model_folder.average_weights(self._loaded.network, folders)
        self._backend.take_weights()

    def newest_models(self) -> Tuple[StoredFolder, ...]:
        """Return the newest kept models, as many as the user keeps, oldest first."""
        return self._folder.checkpoints(CHECKPOINTS)[-self._keep :]

    def reading(self, stored: StoredFolder) -> ContextManager[Path]:
        """Return a local folder with a model's files, for as long as the context lasts."""
        return self._folder.reading(stored)

    def _saved(self, step: int) -> None:
        self._saved_step = step
        self._saved_at = time.monotonic()

    def _tell(self) -> None:
        self._reporter.tell(checkpoints=earlier_attempts.reported_checkpoints(self._folder, (CHECKPOINTS, RESUME)))


def _require_finite(tensors: Mapping[str, torch.Tensor], step: int) -> None:
    # A loss is computed before the update of its step. Only the weights show what the last update did.
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise TrainerError(
            "TrainingDiverged",
            f"{len(broken)} tensors have values that are not finite after step {step}, among them {broken[0]}; "
            "lower training.learningRate",
        )


def _path(kind: str, step: int) -> str:
    return f"{kind}/checkpoint-{step}"
