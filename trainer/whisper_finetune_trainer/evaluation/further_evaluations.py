"""The evaluations of `spec.evaluations`: each is heard before and after the training, by the same code as the result.

What is known of them is told at once. Each is kept in the run's folder, so that no later attempt hears it again.
"""

import functools
from contextlib import nullcontext
from typing import Callable, ContextManager, List, NamedTuple, Optional, Sequence

from whisper_finetune_api.languages import language_code
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.scores import EvaluationScores, Metric, verdict_of
from whisper_finetune_trainer.data.evaluation_sets import EvaluationClips
from whisper_finetune_trainer.evaluation import evaluations, wer
from whisper_finetune_trainer.evaluation.evaluations import Evaluation, Evaluations
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model import model
from whisper_finetune_trainer.model.backend import Backend
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.progress.progress import Reporter

_WITHOUT_WORDS = "its texts have no word to compare"


class _Further(NamedTuple):
    """One evaluation, and how it is made."""

    evaluations: Evaluations
    #: What is known of it without hearing it.
    known: EvaluationScores
    metric: Metric


def begin_further_evaluations(
    folder: RunFolder,
    spec: WhisperFineTuneSpec,
    found: Sequence[EvaluationClips],
    loaded: LoadedModel,
    backend: Backend,
    reporter: Reporter,
    stop: StopRequest,
) -> "FurtherEvaluations":
    """Return the evaluations, each of which the untrained model has heard.

    `spec` is the run's, and `loaded` hears its language. It is called before the weights of an earlier attempt are
    loaded.
    """
    begun = FurtherEvaluations(folder, spec, found, loaded, backend, reporter, stop)
    begun.measure_baselines()
    return begun


class FurtherEvaluations:
    """Makes, stores and tells the evaluations of further data sets."""

    def __init__(
        self,
        folder: RunFolder,
        spec: WhisperFineTuneSpec,
        found: Sequence[EvaluationClips],
        loaded: LoadedModel,
        backend: Backend,
        reporter: Reporter,
        stop: StopRequest,
    ) -> None:
        """The arguments are those of `begin_further_evaluations`."""
        self._reporter = reporter
        self._baselines: List[Evaluation] = []
        self._all: List[_Further] = []
        for each in found:
            heard = model.hearing(loaded, each.spec)
            made = Evaluations(
                folder,
                each.clips,
                heard,
                backend,
                reporter,
                stop,
                name=each.name,
                prompted=_prompted(heard, each.spec, spec),
            )
            self._all.append(_Further(made, _known_scores(each, spec, heard, loaded), _metric_of(heard)))

    def measure_baselines(self) -> None:
        """Hear all of them with the untrained model, which the backend has."""
        for further in self._all:
            self._baselines.append(further.evaluations.baseline())
            self._tell([])

    def are_stored(self, step: int) -> bool:
        """Return whether all of them are stored for the model of a step."""
        return all(further.evaluations.stored(step) for further in self._all)

    def measure_final(self, step: int, *, anew: bool) -> None:
        """Hear all of them with the final model, which the backend has, and tell the result.

        `anew` says that what is stored for the step is of another training.
        """
        finals: List[Evaluation] = []
        for further in self._all:
            known = None if anew else further.evaluations.stored(step)
            finals.append(known or further.evaluations.make_and_store(step))
            self._tell(finals)

    def _tell(self, finals: Sequence[Evaluation]) -> None:
        padded: List[Optional[Evaluation]] = [*finals, *[None] * (len(self._baselines) - len(finals))]
        rows = zip(self._all, self._baselines, padded)
        self._reporter.tell(evaluations=tuple(_scores(further, before, after) for further, before, after in rows))


def _prompted(
    heard: LoadedModel, of_evaluation: WhisperFineTuneSpec, of_run: WhisperFineTuneSpec
) -> Callable[[], ContextManager[None]]:
    if _speech(of_evaluation) == _speech(of_run):
        return nullcontext
    return functools.partial(model.prompted, heard, of_evaluation)


def _speech(spec: WhisperFineTuneSpec) -> Sequence[str]:
    return language_code(spec.language), spec.task


def _known_scores(
    found: EvaluationClips, spec: WhisperFineTuneSpec, heard: LoadedModel, loaded: LoadedModel
) -> EvaluationScores:
    metric, usual = (_metric_of(each).name for each in (heard, loaded))
    code = language_code(found.spec.language)
    return EvaluationScores(
        name=found.name,
        clips=len(found.clips),
        copies=found.copies or None,
        metric=None if metric == usual else metric,
        language=None if code == language_code(spec.language) else code,
    )


def _metric_of(heard: LoadedModel) -> Metric:
    return wer.metric(heard.text_language_code, heard.spellings, heard.task)


def _scores(further: _Further, before: Evaluation, after: Optional[Evaluation]) -> EvaluationScores:
    baseline = before.to_report().score
    if after is None:
        return further.known.model_copy(update={"baseline": baseline})
    result = evaluations.compare_evaluations(before, after)
    has_words = result.difference_low is not None
    return further.known.model_copy(
        update={
            "baseline": baseline,
            "result": result.score,
            "difference_low": result.difference_low,
            "difference_high": result.difference_high,
            "verdict": verdict_of(result, None, further.metric) if has_words else "NotMeasured",
            "reason": None if has_words else _WITHOUT_WORDS,
        }
    )
