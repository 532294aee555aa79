"""One attempt at a run, from top to bottom: data, model, baseline, training, evaluation, model, result."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Sequence, Tuple

import torch

from whisper_finetune_api.run import TrainerConfig, TrainingResult
from whisper_finetune_trainer.checkpoints.checkpoints import CardOf, Checkpoints
from whisper_finetune_trainer.checkpoints.step_record import StepRecord
from whisper_finetune_trainer.data import text_rules
from whisper_finetune_trainer.data.layouts.layout import LIMITS, StreamLimits
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.evaluation.evaluations import Evaluation, Evaluations
from whisper_finetune_trainer.evaluation.further_evaluations import FurtherEvaluations, begin_further_evaluations
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model import model, model_card, model_folder
from whisper_finetune_trainer.model.backend import Backend
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.model_card import DescribedRun
from whisper_finetune_trainer.output.folder_manifest import StoredFolder
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.report import report_files
from whisper_finetune_trainer.report.charts import MixtureScore
from whisper_finetune_trainer.report.report_data import FinishedTraining
from whisper_finetune_trainer.training import exporting, finished_run, opening, outcome, training_loop
from whisper_finetune_trainer.training.exporting import CheckedModel
from whisper_finetune_trainer.training.mixing import WeightMixer
from whisper_finetune_trainer.training.opening import OpenedTraining
from whisper_finetune_trainer.training.training_loop import TrainingLoop


def train(
    config: TrainerConfig,
    folder: RunFolder,
    reporter: Reporter,
    stop: StopRequest,
    limits: StreamLimits = LIMITS,
) -> TrainingResult:
    """Take a run to its end, from where earlier attempts left it, and return its result.

    Raises TrainerError, whose message says what to mend. Raises Stopped after the newest state is saved. Shards beyond
    the `limits` are read as a stream.
    """
    finished = _train_or_take_over(config, folder, reporter, stop, limits)
    # Network, optimizer and caches are gone by now: the engines of exports get their memory.
    return exporting.add_exports(config, finished.folder, finished.result, finished.open_checked, reporter, stop)


@dataclass(frozen=True)
class _FinishedRun:
    """A result, the folder that it lies in, and what opens that which exports are compared with."""

    folder: RunFolder
    result: TrainingResult
    open_checked: Callable[[], CheckedModel]


def _train_or_take_over(
    config: TrainerConfig, folder: RunFolder, reporter: Reporter, stop: StopRequest, limits: StreamLimits
) -> _FinishedRun:
    with stop.interruptible():
        opened = opening.open_training(config, folder, reporter, stop, limits)
        earlier = finished_run.take_over(config, folder, opened.made_from, reporter)
    if earlier is not None:
        where, result = earlier
        return _FinishedRun(where, result, lambda: exporting.reopen_model(config, where, result, limits))
    result, checked = _train_and_publish(config, folder, opened, reporter, stop)
    return _FinishedRun(folder, result, lambda: checked)


def _train_and_publish(
    config: TrainerConfig, folder: RunFolder, opened: OpenedTraining, reporter: Reporter, stop: StopRequest
) -> Tuple[TrainingResult, CheckedModel]:
    steps = StepRecord()
    run, devices, loaded, clips, others, backend, made_from = opened
    measured = Evaluations(folder, clips.evaluation, loaded, backend, reporter, stop)
    baseline = measured.baseline()
    reporter.tell(baseline=baseline.to_report())
    further = begin_further_evaluations(folder, config.spec, clips, others, loaded, backend, reporter, stop)
    validation, candidates = _begin_validation(folder, clips, loaded, backend, reporter, stop)
    output, card_of = config.spec.output, _card_writer(run, reporter)
    saved = Checkpoints(output.keep_checkpoints, card_of, folder, backend, loaded, reporter, clips.train.digest, steps)
    first_step = saved.resume()
    reporter.resume_at(first_step, run.schedule.steps)
    loop = TrainingLoop(run.schedule, config.spec.training, backend, validation, saved, reporter, stop)
    choice = loop.run(first_step, candidates)
    folder.wait_until_written()
    mixer = _weight_mixer(config, run, saved, validation, reporter, stop)
    taken = _measure_final(choice, loop.steps_taken, saved, measured, further, mixer)
    outcome.write_texts(folder, clips, baseline, taken.evaluation)
    figures = outcome.compare_with_baseline(baseline, taken.evaluation, clips, loaded)
    result = outcome.conclude(folder, reporter.snapshot(), baseline, taken.evaluation, figures, output.keep_checkpoints)
    result = outcome.judge_outcome(result, config.spec.acceptance)
    if output.takes_report:
        finished = _finished(run, devices, result, clips, loaded, choice, baseline, taken, steps)
        result = report_files.write_report(folder, finished)
    backend.gather_weights()
    card = model_card.model_card(run, result, taken.step, figures)
    fill = _filler(loaded, saved, taken, card, float16_copy=output.float16_copy)
    published = outcome.publish(folder, result, taken.step, fill, made_from)
    reported = finished_run.report_finished(output, folder, published, reporter)
    return reported, exporting.checked_model(config, clips.evaluation, taken.evaluation.heard, loaded)


@dataclass(frozen=True)
class _FinalModel:
    """The model that is taken, and what it hears in the held-out clips."""

    evaluation: Evaluation
    #: The kept model that it is. None: the weights that the backend has.
    kept: Optional[StoredFolder]
    #: The scores of mixed weights on the validation clips, where they were weighed.
    mixtures: Tuple[MixtureScore, ...] = ()

    @property
    def step(self) -> int:
        return self.evaluation.step


def _card_writer(run: DescribedRun, reporter: Reporter) -> CardOf:
    return lambda step, figures: model_card.model_card(run, reporter.report(), step, figures)


def _begin_validation(
    folder: RunFolder, clips: Clips, loaded: LoadedModel, backend: Backend, reporter: Reporter, stop: StopRequest
) -> Tuple[Optional[Evaluations], List[Evaluation]]:
    """Return the evaluations by which the best model is chosen, and the first of them, that of the untrained model.

    Return None and an empty list where the last model is taken. It is called before the weights of an earlier attempt
    are loaded.
    """
    if not clips.validation:
        return None, []
    validation = Evaluations(folder, clips.validation, loaded, backend, reporter, stop, "Validation")
    return validation, [validation.baseline()]


def _measure_final(
    choice: Sequence[Evaluation],
    taken: range,
    saved: Checkpoints,
    measured: Evaluations,
    further: FurtherEvaluations,
    mixer: Optional[WeightMixer],
) -> _FinalModel:
    """Choose the final model by the evaluations on the validation clips, and measure it on all others.

    `taken` are the steps of this attempt, the last of them the newest. What was stored of one of them before is of
    another training: of one on other clips, or of one whose states are lost. Mixed weights are always measured anew.
    """
    last_step = taken.stop - 1
    chosen = _chosen_step(choice[1:], last_step, saved)
    weighing = mixer.weigh(chosen, choice) if mixer else None
    is_new = chosen in taken or weighing is not None
    known = None if is_new else measured.stored(chosen)
    kept = saved.model_of(chosen)
    if weighing is None and kept and chosen != last_step and not (known and further.are_stored(chosen)):
        saved.load_model(kept)
    final = known or measured.make_and_store(chosen)
    further.measure_final(chosen, anew=is_new)
    is_mixed = weighing is not None and not weighing.chosen.is_trained
    return _FinalModel(final, None if is_mixed else kept, weighing.scores() if weighing else ())


def _weight_mixer(
    config: TrainerConfig,
    run: DescribedRun,
    saved: Checkpoints,
    validation: Optional[Evaluations],
    reporter: Reporter,
    stop: StopRequest,
) -> Optional[WeightMixer]:
    if not config.spec.training.mixing or validation is None:
        return None

    def first_weights() -> Mapping[str, torch.Tensor]:
        with stop.interruptible():
            return model.read_first_weights(config.spec, run.commits.model, config.volumes, config.scratch_folder)

    return WeightMixer(first_weights, saved, validation, reporter)


def _chosen_step(candidates: Sequence[Evaluation], last_step: int, saved: Checkpoints) -> int:
    """Return the step of the best model that is intact, else the last step."""
    kept = [evaluation for evaluation in candidates if saved.model_of(evaluation.step)]
    while kept:
        best = training_loop.best_of(kept)
        if saved.is_intact(best.step):
            return best.step
        kept.remove(best)
    return last_step


def _finished(
    run: DescribedRun,
    devices: int,
    result: TrainingResult,
    clips: Clips,
    loaded: LoadedModel,
    choice: Sequence[Evaluation],
    baseline: Evaluation,
    taken: _FinalModel,
    steps: StepRecord,
) -> FinishedTraining:
    return FinishedTraining(
        run=run,
        result=result,
        clips=clips,
        baseline=baseline,
        measured=tuple(choice) or (baseline, taken.evaluation),
        final=taken.evaluation,
        normalize=text_rules.normalizer_for(loaded.text_language_code, loaded.spellings).apply,
        stretches=steps.stretches(),
        seconds=steps.seconds(),
        devices=devices,
        mixtures=taken.mixtures,
    )


def _filler(
    loaded: LoadedModel, saved: Checkpoints, taken: _FinalModel, card: str, *, float16_copy: bool
) -> Callable[[Path], None]:
    kept = taken.kept
    fill: Callable[[Path], None] = functools.partial(model.save_model, loaded, card=card)
    if kept:
        fill = functools.partial(outcome.copy_model, saved.reading(kept), tuple(kept.manifest.files), card)
    return _with_float16_copy(fill) if float16_copy else fill


def _with_float16_copy(fill: Callable[[Path], None]) -> Callable[[Path], None]:
    def fill_twice(folder: Path) -> None:
        fill(folder)
        model_folder.add_float16_copy(folder)

    return fill_twice
