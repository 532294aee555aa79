"""Which mixture of the weights before and after training becomes the final model, by the validation clips.

Training on little data makes a model forget what it could before. On the straight way between both weights there often
is a model that has most of the gain and forgets less. The mean of the last checkpoints is another such model. Weights
are all that it takes, so it is the same on every accelerator.

Nothing of it is kept between attempts. One that is stopped here begins the weighing again, and no step of the training.
"""

import logging
from dataclasses import dataclass
from typing import Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

import torch

from whisper_finetune_api.v1alpha1.scores import Mixing
from whisper_finetune_trainer.checkpoints.checkpoints import Checkpoints
from whisper_finetune_trainer.evaluation import wer
from whisper_finetune_trainer.evaluation.evaluations import Evaluation, Evaluations
from whisper_finetune_trainer.output.folder_manifest import StoredFolder
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.report.charts import MixtureScore
from whisper_finetune_trainer.training import training_loop

#: Beside 0, the model before training, and 1, the best one of the training. Those are measured already.
FACTORS = (0.25, 0.5, 0.75, 1.25)
#: Returns the weights before training by their names.
FirstWeights = Callable[[], Mapping[str, torch.Tensor]]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mixture:
    """Weights, and what they hear in the validation clips.

    `factor` is the part of the way from the weights before training to those after it. Without it, it is the mean of
    the `checkpoints`.
    """

    evaluation: Evaluation
    factor: Optional[float] = None
    checkpoints: Tuple[StoredFolder, ...] = ()

    @property
    def is_trained(self) -> bool:
        """Whether these are the weights of the training, unmixed."""
        return self.factor == 1

    def to_report(self) -> Mixing:
        """Return the mixture as the status shows it."""
        return Mixing(
            factor=None if self.factor is None else f"{self.factor:.2f}",
            checkpoints=len(self.checkpoints) or None,
            score=wer.percent_text(self.evaluation.measurement.score),
        )


@dataclass(frozen=True)
class Weighing:
    """The mixtures that were measured, in the order of their factors and the mean last, and the one that is taken."""

    mixtures: Tuple[Mixture, ...]
    chosen: Mixture

    def scores(self) -> Tuple[MixtureScore, ...]:
        """Return the curve as the report shows it."""
        return tuple(
            MixtureScore(mixture.factor, mixture.evaluation.measurement.score, is_final=mixture is self.chosen)
            for mixture in self.mixtures
        )


def best_mixture(found: Sequence[Mixture]) -> Mixture:
    """Return the mixture with the best score. Of equal ones, return the first, so that only a gain changes weights."""
    return min(found, key=lambda mixture: mixture.evaluation.measurement.loss)


class WeightMixer:
    """Weighs the weights before and after training, and leaves the backend with those that are taken."""

    def __init__(
        self, first_weights: FirstWeights, saved: Checkpoints, validation: Evaluations, reporter: Reporter
    ) -> None:
        """`validation` makes evaluations on the validation clips."""
        self._first_weights = first_weights
        self._saved = saved
        self._validation = validation
        self._reporter = reporter

    def weigh(self, step: int, measured: Sequence[Evaluation]) -> Optional[Weighing]:
        """Measure mixtures with the model of a step, tell which one is taken, and have the backend hear with it.

        `measured` are the evaluations on the validation clips, that of the model before training first. Return None
        where the model of the step is not kept. Raises Stopped on SIGTERM.
        """
        tuned = self._saved.model_of(step)
        known = next((evaluation for evaluation in measured[1:] if evaluation.step == step), None)
        if tuned is None or known is None:
            logger.warning("step %d has no whole checkpoint, so its weights are not mixed", step)
            return None
        before = self._first_weights()
        found = [Mixture(known, 1.0), *self._between(before, tuned, step), *self._means(step)]
        chosen = best_mixture(found)
        self._load(before, tuned, chosen)
        choice = training_loop.describe_choice(measured[0], [*measured[1:], chosen.evaluation])
        self._reporter.tell(mixing=chosen.to_report(), validation=choice)
        return Weighing(_by_factor([Mixture(measured[0], 0.0), *found]), chosen)

    def _between(self, before: Mapping[str, torch.Tensor], tuned: StoredFolder, step: int) -> Iterator[Mixture]:
        for factor in FACTORS:
            logger.info("hearing with weights at %s of the way to those of step %d", factor, step)
            self._saved.load_mixture(before, tuned, factor)
            yield Mixture(self._validation.make(step), factor)

    def _means(self, step: int) -> Iterator[Mixture]:
        newest = self._saved.newest_models()
        if len(newest) > 1 and all(self._saved.is_intact(each.manifest.step) for each in newest):
            logger.info("hearing with the mean of %d checkpoints", len(newest))
            self._saved.load_mean(newest)
            yield Mixture(self._validation.make(step), checkpoints=newest)

    def _load(self, before: Mapping[str, torch.Tensor], tuned: StoredFolder, mixture: Mixture) -> None:
        if mixture.factor is None:
            self._saved.load_mean(mixture.checkpoints)
        else:
            self._saved.load_mixture(before, tuned, mixture.factor)


def _by_factor(mixtures: List[Mixture]) -> Tuple[Mixture, ...]:
    return tuple(sorted(mixtures, key=lambda mixture: (mixture.factor is None, mixture.factor or 0.0)))
