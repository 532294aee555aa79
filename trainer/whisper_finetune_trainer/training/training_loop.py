"""The optimizer steps of an attempt, and what happens between them: evaluations, checkpoints, patience, a stop.

The functions that decide are pure: when to evaluate and save, when patience ends a run, which evaluation is the best.
"""

from typing import List, Optional, Sequence, Tuple

from whisper_finetune_api.run import Schedule
from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_api.v1alpha1.scores import Validation
from whisper_finetune_trainer.checkpoints.checkpoints import Checkpoints
from whisper_finetune_trainer.evaluation import wer
from whisper_finetune_trainer.evaluation.evaluations import Evaluation, Evaluations
from whisper_finetune_trainer.machine.stopping import Stopped, StopRequest
from whisper_finetune_trainer.model.backend import Backend, StepDone
from whisper_finetune_trainer.progress.progress import Reporter


def is_evaluation_due(schedule: Schedule, step: int) -> bool:
    """Return whether the model is evaluated after this step: after the last one, and every `evalEverySteps`."""
    return step == schedule.steps or _is_multiple(step, schedule.eval_every_steps)


def is_checkpoint_due(schedule: Schedule, step: int) -> bool:
    """Return whether the model is kept after this step, every `saveEverySteps`. Evaluations keep theirs in any case."""
    return _is_multiple(step, schedule.save_every_steps)


def evaluation_steps(schedule: Schedule, until_step: int) -> Tuple[int, ...]:
    """Return the steps at which the run evaluates, up to and including `until_step`."""
    every = schedule.eval_every_steps
    multiples = range(every, until_step + 1, every) if every else range(0)
    return tuple(sorted({*multiples, *([schedule.steps] if until_step >= schedule.steps else [])}))


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation with the best score. Of equal ones, return the earliest."""
    return min(evaluations, key=lambda evaluation: (evaluation.measurement.loss, evaluation.step))


def describe_choice(baseline: Evaluation, evaluations: Sequence[Evaluation]) -> Validation:
    """Return how the best model is chosen so far. All evaluations are on the validation clips."""
    best = best_of(evaluations) if evaluations else None
    return Validation(
        clips=len(baseline.heard),
        baseline=wer.percent_text(baseline.measurement.score),
        best=wer.percent_text(best.measurement.score) if best else None,
        step=best.step if best else None,
    )


def is_patience_exhausted(evaluations: Sequence[Evaluation], patience: Optional[int]) -> bool:
    """Return whether none of the newest `patience` evaluations is better than the best before them."""
    if patience is None or not evaluations:
        return False
    best = best_of(evaluations)
    return sum(evaluation.step > best.step for evaluation in evaluations) >= patience


def _is_multiple(step: int, every: Optional[int]) -> bool:
    return every is not None and step > 0 and step % every == 0


class TrainingLoop:
    """Takes a run from the step that it was resumed at to its end."""

    def __init__(
        self,
        schedule: Schedule,
        training: Training,
        backend: Backend,
        validation: Optional[Evaluations],
        checkpoints: Checkpoints,
        reporter: Reporter,
        stop: StopRequest,
    ) -> None:
        """All arguments belong to the same attempt. `validation` is None where the last model is taken unmeasured."""
        self._schedule = schedule
        self._training = training
        self._backend = backend
        self._validation = validation
        self._checkpoints = checkpoints
        self._reporter = reporter
        self._stop = stop
        self._step = self._first_step = 0
        self._baseline: List[Evaluation] = []
        self._history: List[Evaluation] = []

    @property
    def steps_taken(self) -> range:
        """The steps that this attempt took. Its stop is the step after the newest, also where it took none."""
        return range(self._first_step + 1, self._step + 1)

    def run(self, first_step: int, baseline: Sequence[Evaluation] = ()) -> List[Evaluation]:
        """Train on from `first_step`. Return all evaluations on the validation clips, the `baseline` first.

        Both are empty where nothing is chosen. After Stopped it saves a state of the newest step and raises it again.
        """
        self._step = self._first_step = first_step
        self._baseline = list(baseline)
        if self._validation is not None:
            self._history = self._stored_history(self._validation, first_step)
            self._tell_choice()
        try:
            # The attempt before may have been stopped during an evaluation, which is due now.
            self._evaluate_if_due()
            self._save_if_due()
            if not self._is_over():
                self._begin_step()
                self._backend.train(first_step, self._on_step)
        except Stopped:
            self._checkpoints.save_last_state(self._step)
            raise
        # A stop while the chosen model is measured costs no step.
        self._checkpoints.save_state(self._step)
        self._reporter.finish(self._step, self._schedule.steps)
        return [*self._baseline, *self._history]

    def _on_step(self, done: StepDone) -> bool:
        """Do what is due after a step. Return whether to take another one."""
        self._step = done.step
        self._checkpoints.record(done)
        self._tell_hardware()
        self._reporter.step_done(done.step, self._schedule.steps, done.loss, done.learning_rate, done.seconds)
        self._save_state_if_due()
        self._evaluate_if_due()
        self._save_if_due()
        if self._is_over():
            return False
        self._begin_step()
        return True

    def _tell_hardware(self) -> None:
        # How much of it is used is found while it is used.
        if self._backend.ran_on != self._reporter.report().ran_on:
            self._reporter.tell(ran_on=self._backend.ran_on)

    def _is_over(self) -> bool:
        is_last = self._step >= self._schedule.steps
        return is_last or is_patience_exhausted(self._history, self._training.patience)

    def _begin_step(self) -> None:
        self._stop.check()
        if self._reporter.report().stage != "Training":
            self._reporter.enter("Training")

    def _save_state_if_due(self) -> None:
        if self._checkpoints.seconds_since_state() >= self._training.resume_every_seconds:
            self._checkpoints.save_state(self._step)

    def _evaluate_if_due(self) -> None:
        validation, is_due = self._validation, is_evaluation_due(self._schedule, self._step)
        if validation is None or not is_due or self._is_measured():
            return
        # The state first: if the evaluation is stopped, no step is lost.
        self._checkpoints.save_state(self._step)
        made = validation.make(self._step)
        best = best_of([*self._history, made])
        self._checkpoints.save_model(self._step, made.to_report(), also_keep=best.step)
        # The evaluation last, so that each stored evaluation has its model.
        validation.store(made)
        self._history.append(made)
        self._tell_choice()

    def _tell_choice(self) -> None:
        self._reporter.tell(validation=describe_choice(self._baseline[0], self._history))

    def _save_if_due(self) -> None:
        """Save the model for the user where the schedule says so. An evaluation at this step has saved it already."""
        if not is_checkpoint_due(self._schedule, self._step) or self._is_measured():
            return
        if self._checkpoints.model_of(self._step) is None:
            self._checkpoints.save_state(self._step)
            best = best_of(self._history).step if self._history else None
            self._checkpoints.save_model(self._step, figures=None, also_keep=best)

    def _is_measured(self) -> bool:
        return any(evaluation.step == self._step for evaluation in self._history)

    def _stored_history(self, validation: Evaluations, step: int) -> List[Evaluation]:
        stored = (validation.stored(done) for done in evaluation_steps(self._schedule, step))
        return [evaluation for evaluation in stored if evaluation is not None]
