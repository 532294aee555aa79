"""The optimizer steps of an attempt, and what happens between them: evaluations, checkpoints, patience, a stop."""

from typing import List, Optional

from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.backend import Backend, StepDone
from whisper_finetune_trainer.checkpoints.checkpoints import Checkpoints
from whisper_finetune_trainer.evaluation.evaluations import Evaluation, Evaluations
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.stopping import Stopped, StopRequest
from whisper_finetune_trainer.training import milestones


class TrainingLoop:
    """Takes a run from the step that it was resumed at to its end."""

    def __init__(
        self,
        config: TrainerConfig,
        backend: Backend,
        evaluations: Evaluations,
        checkpoints: Checkpoints,
        reporter: Reporter,
        stop: StopRequest,
    ) -> None:
        """All parts belong to the same attempt."""
        self._schedule = config.schedule
        self._training = config.spec.training
        self._backend = backend
        self._evaluations = evaluations
        self._checkpoints = checkpoints
        self._reporter = reporter
        self._stop = stop
        self._step = 0
        self._history: List[Evaluation] = []

    def run(self, first_step: int) -> List[Evaluation]:
        """Train on from `first_step` and return all evaluations after the baseline, the last one at the step reached.

        Stopped leaves a state of the newest step behind.
        """
        self._step = first_step
        self._history = self._stored_history(first_step)
        try:
            if self._is_to_go_on():
                self._backend.train(first_step, self._after_step)
        except Stopped:
            self._checkpoints.save_last_state(self._step)
            raise
        self._reporter.finish(self._step, self._schedule.steps)
        return self._history

    def _after_step(self, done: StepDone) -> bool:
        self._step = done.step
        self._checkpoints.record(done)
        self._reporter.step_done(done.step, self._schedule.steps, done.loss, done.learning_rate, done.seconds)
        if self._checkpoints.seconds_since_state() >= self._training.resume_every_seconds:
            self._checkpoints.save_state(done.step)
        return self._is_to_go_on()

    def _is_to_go_on(self) -> bool:
        """Do what is due at the step reached, and return whether there is another one to take."""
        self._keep_milestones(self._step, self._history)
        if self._step >= self._schedule.steps or self._is_patience_exhausted(self._history):
            return False
        self._stop.check()
        if self._reporter.report().stage != "Training":
            self._reporter.enter("Training")
        return True

    def _stored_history(self, step: int) -> List[Evaluation]:
        stored = (self._evaluations.stored(done) for done in milestones.evaluation_steps(self._schedule, step))
        return [evaluation for evaluation in stored if evaluation is not None]

    def _keep_milestones(self, step: int, history: List[Evaluation]) -> None:
        is_measured = any(evaluation.step == step for evaluation in history)
        if milestones.is_evaluation_due(self._schedule, step) and not is_measured:
            # First, so that whatever ends the evaluation costs no step.
            self._checkpoints.save_state(step)
            history.append(self._evaluate(step, history))
        elif milestones.is_checkpoint_due(self._schedule, step) and self._checkpoints.model_of(step) is None:
            self._checkpoints.save_state(step)
            self._checkpoints.save_model(step, figures=None, also_keep=self._best_step(history))

    def _evaluate(self, step: int, history: List[Evaluation]) -> Evaluation:
        made = self._evaluations.make(step)
        if self._schedule.eval_every_steps is not None:
            figures = made.measurement.to_report()
            self._checkpoints.save_model(step, figures, also_keep=self._best_step([*history, made]))
        # Last: an evaluation that is stored has its model.
        self._evaluations.store(made)
        return made

    def _best_step(self, history: List[Evaluation]) -> Optional[int]:
        return milestones.best_of(history).step if history else None

    def _is_patience_exhausted(self, history: List[Evaluation]) -> bool:
        return milestones.is_patience_exhausted(history, self._training.patience)
