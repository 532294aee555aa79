"""One attempt at a run, from top to bottom: data, model, baseline, training, evaluation, model, result."""

import functools
import logging
from pathlib import Path
from typing import Callable, List, NamedTuple, Sequence

from whisper_finetune_api.run import HubCommits, Schedule, TrainerConfig, TrainingResult
from whisper_finetune_trainer.checkpoints import training_state
from whisper_finetune_trainer.checkpoints.checkpoints import CardOf, Checkpoints
from whisper_finetune_trainer.checkpoints.step_record import StepRecord
from whisper_finetune_trainer.data import dataset, text_rules
from whisper_finetune_trainer.data.audio.audio_locator import ExtractedAudio
from whisper_finetune_trainer.data.layouts.layout import LIMITS, StreamLimits
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.evaluation import wer
from whisper_finetune_trainer.evaluation.evaluations import Evaluation, Evaluations
from whisper_finetune_trainer.machine import cpu_count
from whisper_finetune_trainer.machine.scratch_space import ScratchShares
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model import clip_fitting, model, model_card, model_folder
from whisper_finetune_trainer.model.backend import Backend, BackendSettings, plan_training
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.model_card import DescribedRun
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.report import report_files
from whisper_finetune_trainer.report.report_data import FinishedTraining
from whisper_finetune_trainer.training import backends, finished_run, hub_commits, outcome, training_loop
from whisper_finetune_trainer.training.training_loop import TrainingLoop

logger = logging.getLogger(__name__)


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
    steps = StepRecord()
    with stop.interruptible():
        run, devices, loaded, clips, backend = _open_training(config, folder, reporter, stop, limits)
    reporter.tell(
        data=clips.summary(), metric=wer.metric(loaded.text_language_code, loaded.spellings), ran_on=backend.ran_on
    )

    measured = Evaluations(folder, clips.evaluation, loaded, backend, reporter, stop)
    baseline = measured.baseline()
    reporter.tell(baseline=baseline.measurement.to_report())
    output, card_of = config.spec.output, _card_writer(run, reporter)
    saved = Checkpoints(output.keep_checkpoints, card_of, folder, backend, loaded, reporter, clips.train.digest, steps)
    first_step = saved.resume()
    reporter.resume_at(first_step, run.schedule.steps)
    loop = TrainingLoop(run.schedule, config.spec.training, backend, measured, saved, reporter, stop)
    history = loop.run(first_step)
    folder.wait_until_written()

    final = _final(run.schedule, history, saved)
    outcome.write_texts(folder, clips, baseline, final)
    figures = outcome.compare_with_baseline(baseline, final, clips, loaded)
    result = outcome.conclude(folder, reporter.snapshot(), baseline, figures, output.keep_checkpoints)
    if output.takes_report:
        finished = _finished(run, devices, result, clips, loaded, (baseline, *history), final, steps)
        result = report_files.write_report(folder, finished)
    backend.gather_weights()
    card = model_card.model_card(run, result, final.step, figures)
    fill = _filler(loaded, saved, final, card, float16_copy=output.float16_copy)
    return finished_run.report_finished(output, folder, outcome.publish(folder, result, final.step, fill), reporter)


class _Opened(NamedTuple):
    """The parts of a training. `run` has the commits and the schedule that are really used."""

    run: DescribedRun
    #: How many IPUs, GPUs or CPUs it uses.
    devices: int
    loaded: LoadedModel
    clips: Clips
    backend: Backend


def _open_training(
    config: TrainerConfig, folder: RunFolder, reporter: Reporter, stop: StopRequest, limits: StreamLimits
) -> _Opened:
    spec = config.spec
    commits = hub_commits.commits_of_run(spec, folder)
    loaded = model.load_model(spec, commits.model, config.volumes, config.scratch_folder)
    # After the model is loaded: its size decides how much scratch space is left for sounds. Its download is gone then.
    shares = _scratch_shares(config, folder, loaded)
    clips = _load_clips(config, commits, shares.sounds_bytes, loaded, limits)
    unused_bytes = shares.sounds_bytes - clips.scratch_bytes
    plan = plan_training(spec, config.accelerator, config.ipus, loaded.dimensions)
    settings = BackendSettings(
        accelerator=config.accelerator,
        training=spec.training,
        schedule=plan.schedule,
        ipu_plan=plan.ipu,
        scratch_folder=config.scratch_folder,
        encoder_outputs_bytes=shares.encoder_outputs_bytes + unused_bytes,
        ipu_wait_seconds=config.ipu_wait_seconds,
        cpus=cpu_count.available_cpus(),
    )
    backend = backends.open_backend(
        settings, loaded, clips, stop.check, on_read=lambda: reporter.tell(data=clips.summary())
    )
    identity = config.namespace, config.name, config.uid
    run = DescribedRun(*identity, spec, config.accelerator, plan.schedule, commits)
    return _Opened(run, settings.devices, loaded, clips, backend)


def _load_clips(
    config: TrainerConfig, commits: HubCommits, extracted_bytes: int, loaded: LoadedModel, limits: StreamLimits
) -> Clips:
    spec = config.spec
    source = dataset.open_source(spec.dataset, spec.language, config.volumes, commits)
    extracted = ExtractedAudio(config.scratch_folder, extracted_bytes)
    found = dataset.load_clips(spec, source, extracted, limits, text_rules.words_like_tokens(loaded.tokenizer))
    clips = clip_fitting.fit_clips(found, loaded, config.accelerator)
    dropped = ", ".join(f"{number} {reason}" for reason, number in clips.all_dropped().items())
    logger.info(
        "%s, %d held out%s",
        clips.train.size_in_words(),
        len(clips.evaluation),
        f"; left out: {dropped}" if dropped else "",
    )
    return clips


def _card_writer(run: DescribedRun, reporter: Reporter) -> CardOf:
    return lambda step, figures: model_card.model_card(run, reporter.report(), step, figures)


def _scratch_shares(config: TrainerConfig, folder: RunFolder, loaded: LoadedModel) -> ScratchShares:
    state_bytes = training_state.largest_state_bytes(loaded.network)
    # On IPUs the resumed state is written once more, in the library's own form.
    resumed_bytes = state_bytes if config.accelerator == "ipu" else 0
    return folder.divide_scratch(state_bytes, resumed_bytes, config.scratch_limit_bytes)


def _final(schedule: Schedule, history: List[Evaluation], saved: Checkpoints) -> Evaluation:
    """Return the evaluation whose model becomes the final one: the best whose kept model is intact, else the last."""
    if schedule.eval_every_steps is None:
        return history[-1]
    kept = [evaluation for evaluation in history if saved.model_of(evaluation.step)]
    while kept:
        best = training_loop.best_of(kept)
        if saved.is_intact(best.step):
            return best
        kept.remove(best)
    return history[-1]


def _finished(
    run: DescribedRun,
    devices: int,
    result: TrainingResult,
    clips: Clips,
    loaded: LoadedModel,
    measured: Sequence[Evaluation],
    final: Evaluation,
    steps: StepRecord,
) -> FinishedTraining:
    return FinishedTraining(
        run=run,
        result=result,
        clips=clips,
        baseline=measured[0],
        history=tuple(measured[1:]),
        final=final,
        normalize=text_rules.normalizer_for(loaded.text_language_code, loaded.spellings).apply,
        stretches=steps.stretches(),
        seconds=steps.seconds(),
        devices=devices,
    )


def _filler(
    loaded: LoadedModel, saved: Checkpoints, final: Evaluation, card: str, *, float16_copy: bool
) -> Callable[[Path], None]:
    kept = saved.model_of(final.step)
    fill: Callable[[Path], None] = functools.partial(model.save_model, loaded, card=card)
    if kept:
        fill = functools.partial(outcome.copy_model, saved.reading(kept), tuple(kept.manifest.files), card)
    return _with_float16_copy(fill) if float16_copy else fill


def _with_float16_copy(fill: Callable[[Path], None]) -> Callable[[Path], None]:
    def fill_twice(folder: Path) -> None:
        fill(folder)
        model_folder.add_float16_copy(folder)

    return fill_twice
