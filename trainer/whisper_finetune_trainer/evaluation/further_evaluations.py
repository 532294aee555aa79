"""The evaluations of `spec.evaluations`: each is heard before and after the training, by the same code as the result.

What is known of them is told at once. Each is kept in the run's folder, so that no later attempt hears it again.
"""

import functools
from contextlib import nullcontext
from typing import (
    Callable,
    ContextManager,
    Generic,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

from whisper_finetune_api.languages import language_code
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_api.v1alpha1.scores import EvaluationScores, Metric
from whisper_finetune_trainer.data.evaluation_sets import EvaluationClips
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.evaluation import evaluations, long_form, wer
from whisper_finetune_trainer.evaluation.evaluations import Evaluation, Evaluations
from whisper_finetune_trainer.evaluation.long_form import LongFormEvaluation
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model import model
from whisper_finetune_trainer.model.backend import Backend
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.progress.progress import Reporter

#: An evaluation, of whichever kind.
Heard = TypeVar("Heard", bound=Evaluation)


class Measurer(Protocol[Heard]):
    """Makes and stores one evaluation, and says what the status shows of it."""

    def baseline(self) -> Heard:
        """Return the evaluation of the untrained model."""

    def stored(self, step: int) -> Optional[Heard]:
        """Return what is stored for the model of a step, or None."""

    def make_and_store(self, step: int) -> Heard:
        """Return the evaluation of the model as it is now."""

    def scores(self, before: Heard, after: Optional[Heard]) -> EvaluationScores:
        """Return the scores before and after the training. `after` is None where it is not heard yet."""


class _DataSet(NamedTuple):
    """Measures on a further data set."""

    evaluations: Evaluations
    #: What is known of it without hearing it.
    known: EvaluationScores
    metric: Metric

    def baseline(self) -> Evaluation:
        return self.evaluations.baseline()

    def stored(self, step: int) -> Optional[Evaluation]:
        return self.evaluations.stored(step)

    def make_and_store(self, step: int) -> Evaluation:
        return self.evaluations.make_and_store(step)

    def scores(self, before: Evaluation, after: Optional[Evaluation]) -> EvaluationScores:
        result = None if after is None else evaluations.compare_evaluations(before, after)
        known = self.known.model_copy(update={"baseline": before.to_report().score})
        return known if result is None else evaluations.scores_with_result(known, result, self.metric)


class _BeforeAndAfter(Generic[Heard]):
    """One evaluation before and after the training."""

    def __init__(self, measurer: Measurer[Heard]) -> None:
        self._measurer = measurer
        self._before: Optional[Heard] = None
        self._after: Optional[Heard] = None

    def measure_baseline(self) -> None:
        self._before = self._measurer.baseline()

    def is_stored(self, step: int) -> bool:
        return self._measurer.stored(step) is not None

    def measure_final(self, step: int, *, anew: bool) -> None:
        known = None if anew else self._measurer.stored(step)
        self._after = known or self._measurer.make_and_store(step)

    def scores(self) -> Tuple[EvaluationScores, ...]:
        """Return its scores, or none before it is heard for the first time."""
        return () if self._before is None else (self._measurer.scores(self._before, self._after),)


def begin_further_evaluations(
    folder: RunFolder,
    spec: WhisperFineTuneSpec,
    clips: Clips,
    found: Sequence[EvaluationClips],
    loaded: LoadedModel,
    backend: Backend,
    reporter: Reporter,
    stop: StopRequest,
) -> "FurtherEvaluations":
    """Return the evaluations, each of which the untrained model has heard.

    `spec` and `clips` are the run's, and `loaded` hears its language. It is called before the weights of an earlier
    attempt are loaded.
    """
    begun = FurtherEvaluations(folder, spec, clips, found, loaded, backend, reporter, stop)
    begun.measure_baselines()
    return begun


class FurtherEvaluations:
    """Makes, stores and tells the evaluations beside the held-out clips."""

    def __init__(
        self,
        folder: RunFolder,
        spec: WhisperFineTuneSpec,
        clips: Clips,
        found: Sequence[EvaluationClips],
        loaded: LoadedModel,
        backend: Backend,
        reporter: Reporter,
        stop: StopRequest,
    ) -> None:
        """The arguments are those of `begin_further_evaluations`."""
        self._reporter = reporter
        self._measured: List[Union[_BeforeAndAfter[Evaluation], _BeforeAndAfter[LongFormEvaluation]]] = []
        self._unmeasured: Tuple[EvaluationScores, ...] = ()
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
            self._measured.append(
                _BeforeAndAfter(_DataSet(made, _known_scores(each, spec, heard, loaded), _metric_of(heard)))
            )
        joined = long_form.open_long_form(spec, clips.evaluation, folder, loaded, backend, reporter, stop)
        if isinstance(joined, EvaluationScores):
            self._unmeasured = (joined,)
        elif joined is not None:
            self._measured.append(_BeforeAndAfter(joined))

    def measure_baselines(self) -> None:
        """Hear all of them with the untrained model, which the backend has."""
        self._tell()
        for each in self._measured:
            each.measure_baseline()
            self._tell()

    def are_stored(self, step: int) -> bool:
        """Return whether all of them are stored for the model of a step."""
        return all(each.is_stored(step) for each in self._measured)

    def measure_final(self, step: int, *, anew: bool) -> None:
        """Hear all of them with the final model, which the backend has, and tell the result.

        `anew` says that what is stored for the step is of another training.
        """
        for each in self._measured:
            each.measure_final(step, anew=anew)
            self._tell()

    def _tell(self) -> None:
        measured = [scores for each in self._measured for scores in each.scores()]
        self._reporter.tell(evaluations=(*measured, *self._unmeasured))


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
