"""One attempt at a run, from top to bottom: data, model, baseline, training, evaluation, model, result."""

import functools
import logging
from pathlib import Path
from typing import Callable, List, Tuple

from whisper_finetune_api.run import TrainerConfig, TrainerReport, TrainingResult
from whisper_finetune_trainer import backends, dataset, evaluations, milestones, model, outcome, run_folder, wer
from whisper_finetune_trainer.checkpoints import Checkpoints
from whisper_finetune_trainer.clips import Clips
from whisper_finetune_trainer.evaluations import Evaluation, Evaluations
from whisper_finetune_trainer.model import LoadedModel
from whisper_finetune_trainer.progress import Reporter
from whisper_finetune_trainer.run_folder import RunFolder
from whisper_finetune_trainer.stopping import StopRequest
from whisper_finetune_trainer.training_loop import TrainingLoop

logger = logging.getLogger(__name__)


def train(config: TrainerConfig, reporter: Reporter, stop: StopRequest) -> TrainingResult:
    """Make an attempt and return the run's result; a run whose model is whole is only reported.

    TrainerError says what is to be mended; Stopped leaves the newest state behind.
    """
    folder = run_folder.open_run_folder(config)
    finished = outcome.find_finished(folder)
    if finished is not None:
        logger.info("the model of this run is whole: reporting it")
        return _report_finished(config, folder, finished, reporter)

    with stop.interruptible():
        clips, loaded = _load(config)
        backend = backends.open_backend(config, loaded, clips)
    reporter.tell(
        data=clips.summary(), metric=wer.metric(loaded.language_code, loaded.spellings), ran_on=backend.ran_on
    )

    measured = Evaluations(folder, clips.evaluation, loaded, backend, reporter, stop)
    baseline = measured.baseline()
    reporter.tell(baseline=baseline.measurement.to_report())

    keep = config.spec.output.keep_checkpoints
    checkpoints = Checkpoints(folder, backend, loaded, reporter, evaluations.digest_of(clips.train), keep)
    first_step = checkpoints.resume()
    reporter.resume_at(first_step, config.schedule.steps)
    history = TrainingLoop(config, backend, measured, checkpoints, reporter, stop).run(first_step)

    final = _final(config, history, checkpoints)
    figures = outcome.compare(baseline, final, clips, loaded)
    outcome.write_texts(folder, clips, baseline, final)
    result = outcome.conclude(folder, reporter.snapshot(), baseline, figures, config.spec.output.keep_checkpoints)
    fill = _filler(config, loaded, checkpoints, final, f"{config.spec.model}, fine-tuned: {result.message}\n")
    return _report_finished(config, folder, outcome.publish(folder, result, final.step, fill), reporter)


def _report_finished(
    config: TrainerConfig, folder: RunFolder, result: TrainingResult, reporter: Reporter
) -> TrainingResult:
    outcome.tidy(folder, result, config.spec.output.keep_checkpoints)
    reporter.tell(**{name: getattr(result, name) for name in TrainerReport.model_fields})
    logger.info("%s; the model is %s", result.message, folder.address(run_folder.MODEL))
    return result


def _load(config: TrainerConfig) -> Tuple[Clips, LoadedModel]:
    found = dataset.load_clips(config)
    loaded = model.load_model(config)
    clips = dataset.fit_clips(found, loaded, config)
    dropped = ", ".join(f"{number} {reason}" for reason, number in clips.dropped.items())
    logger.info(
        "%d clips to train on, %d held out%s",
        len(clips.train),
        len(clips.evaluation),
        f"; left out: {dropped}" if dropped else "",
    )
    return clips, loaded


def _final(config: TrainerConfig, history: List[Evaluation], checkpoints: Checkpoints) -> Evaluation:
    """Return the evaluation whose model becomes the final one: the best where several were kept, else the last."""
    if config.schedule.eval_every_steps is None:
        return history[-1]
    # Only an evaluation whose model was removed by hand has none.
    return milestones.best_of([evaluation for evaluation in history if checkpoints.model_of(evaluation.step)])


def _filler(
    config: TrainerConfig, loaded: LoadedModel, checkpoints: Checkpoints, final: Evaluation, card: str
) -> Callable[[Path], None]:
    if config.schedule.eval_every_steps is None:
        return lambda folder: model.save_model(loaded, folder, card)
    return functools.partial(outcome.copy_model, checkpoints.local_model(final.step), card)
