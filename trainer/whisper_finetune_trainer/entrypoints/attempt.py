"""One attempt at a run, from a valid configuration on."""

import functools
import importlib
import logging
import os
from typing import Optional

from whisper_finetune_api.run import TrainerConfig, TrainingResult
from whisper_finetune_trainer.checkpoints import earlier_attempts
from whisper_finetune_trainer.data.layouts.layout import LIMITS, StreamLimits
from whisper_finetune_trainer.machine import hardware_faults, library_loading, pod_limits
from whisper_finetune_trainer.machine.stopping import Stopped, StopRequest
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.output import run_output
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.progress.progress import Reporter
from whisper_finetune_trainer.tracking import tracking
from whisper_finetune_trainer.training import finished_run

logger = logging.getLogger(__name__)


def make_attempt(
    config: TrainerConfig, reporter: Reporter, stop: StopRequest, limits: StreamLimits = LIMITS
) -> TrainingResult:
    """Train, or report what an earlier attempt finished. Raises TrainerError, Stopped, or any unexpected error."""
    logger.info(
        "run %s/%s (%s): %s on %s", config.namespace, config.name, config.uid, config.spec.model, config.accelerator
    )
    spec, name, uid, scratch = config.spec, config.run_folder_name, config.uid, config.scratch_folder
    check_grace = functools.partial(stop.check_grace, config.grace_seconds)
    folder = run_output.open_run_folder(spec, name, uid, config.volumes, scratch, check_grace)
    with tracking.of_run(spec, config.name, uid, scratch, reporter, os.environ) as trackings:
        result = _make(config, folder, reporter, stop, limits)
        for each in trackings:
            each.conclude(result, folder.address(run=result.folder))
    return result


def _make(
    config: TrainerConfig, folder: RunFolder, reporter: Reporter, stop: StopRequest, limits: StreamLimits
) -> TrainingResult:
    finished = earlier_attempts.finished_result(folder)
    if finished is not None:
        logger.info("an earlier attempt has finished this run: reporting its result")
        reported = finished_run.report_finished(config.spec.output, folder, finished, reporter)
        return _with_exports(config, folder, reported, reporter, stop, limits)
    folder.prepare()
    earlier_attempts.tell_earlier_progress(folder, config.schedule.steps, reporter)
    pod_limits.make_waiting_passive()
    with stop.interruptible():
        # torch and transformers take seconds to load, and nothing above needs them.
        train = library_loading.load_module("whisper_finetune_trainer.training.train")
    try:
        result: TrainingResult = train.train(config, folder, reporter, stop, limits)
    except (Exception, Stopped) as error:
        explained = _explained(error, reporter, config)
        finish_writing(folder, explained or error)
        if explained is not None:
            raise explained from error
        raise
    return result


def _with_exports(
    config: TrainerConfig,
    folder: RunFolder,
    result: TrainingResult,
    reporter: Reporter,
    stop: StopRequest,
    limits: StreamLimits,
) -> TrainingResult:
    """Return the result of a finished run with the exports that it lacks, which it almost never does."""
    if not finished_run.missing_exports(config.spec.output, folder, result):
        return result
    pod_limits.make_waiting_passive()
    with stop.interruptible():
        exporting = library_loading.load_module("whisper_finetune_trainer.training.exporting")
    exported: TrainingResult = exporting.resume_exports(config, folder, result, reporter, stop, limits)
    return exported


def _explained(error: BaseException, reporter: Reporter, config: TrainerConfig) -> Optional[TrainerError]:
    """Return the TrainerError that an accelerator's error means, or None for any other error.

    The traceback goes to the log.
    """
    card = None
    if config.accelerator == "cuda" and hardware_faults.is_out_of_memory(error, "cuda"):
        # PyTorch is loaded by now. Loading it at the top of this module would cost every attempt seconds.
        card = importlib.import_module("whisper_finetune_trainer.pytorch.device").card_memory()
    stage = reporter.report().stage or "Preparing"
    explained = hardware_faults.explain(error, stage, config.accelerator, config.spec.training, card)
    if explained is not None:
        logger.error("%s of accelerator %s", explained.reason, config.accelerator, exc_info=error)
    return explained


def finish_writing(folder: RunFolder, ending: BaseException) -> None:
    """Wait until everything is written, because the next attempt goes on from it, however this one ended.

    `ending` is the error that ends the attempt, and it must not be hidden. So a write that fails now is only logged,
    unless the attempt ends because of that same write.
    """
    try:
        folder.wait_until_written()
    except Stopped as late:
        if isinstance(ending, Stopped):
            raise
        logger.warning("%s", late)
    except Exception as error:
        if _cause_of(error) is not _cause_of(ending):
            logger.exception("what was on its way could not be written")


def _cause_of(error: BaseException) -> BaseException:
    """Return the failure behind an error. Two errors about one failed write in the background have the same."""
    return error.__cause__ or error
