"""At which steps a run evaluates and saves, when patience ends it, and which evaluation is the best. Pure."""

from typing import Optional, Sequence, Tuple

from whisper_finetune_api.run import Schedule
from whisper_finetune_trainer.evaluation.evaluations import Evaluation


def is_evaluation_due(schedule: Schedule, step: int) -> bool:
    """Return whether the model of this step is measured: at the end, and every evalEverySteps where given."""
    return step == schedule.steps or _is_multiple(step, schedule.eval_every_steps)


def is_checkpoint_due(schedule: Schedule, step: int) -> bool:
    """Return whether the user gets the model of this step; an evaluation keeps its own."""
    return _is_multiple(step, schedule.save_every_steps)


def evaluation_steps(schedule: Schedule, until_step: int) -> Tuple[int, ...]:
    """Return the steps up to and with `until_step` at which the run evaluates."""
    every = schedule.eval_every_steps
    multiples = range(every, until_step + 1, every) if every else range(0)
    return tuple(sorted({*multiples, *([schedule.steps] if until_step >= schedule.steps else [])}))


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation with the lowest score, the earliest of equal ones."""
    return min(evaluations, key=lambda evaluation: (evaluation.measurement.score, evaluation.step))


def is_patience_exhausted(evaluations: Sequence[Evaluation], patience: Optional[int]) -> bool:
    """Return whether the newest `patience` evaluations brought nothing better than what was before them."""
    if patience is None or not evaluations:
        return False
    best = best_of(evaluations)
    return sum(evaluation.step > best.step for evaluation in evaluations) >= patience


def _is_multiple(step: int, every: Optional[int]) -> bool:
    return every is not None and step > 0 and step % every == 0
