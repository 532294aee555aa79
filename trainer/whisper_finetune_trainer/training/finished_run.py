"""What is left to do once the final model is whole, in the attempt that wrote it and in any later one."""

import contextlib
import logging
from typing import Any, Dict, Iterator, Optional, Tuple

from whisper_finetune_api.run import ReportedExport, TrainerConfig, TrainerReport, TrainingResult
from whisper_finetune_api.v1alpha1 import Output
from whisper_finetune_api.v1alpha1.exports import ExportName
from whisper_finetune_trainer.checkpoints import earlier_attempts
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.output.folder_manifest import StoredFolder
from whisper_finetune_trainer.output.run_folder import CHECKPOINTS, LATEST_FILE, MODEL, RESUME, RunFolder
from whisper_finetune_trainer.progress.progress import Reporter

#: Reasons of an output that refuses to be written. Any other failure may be gone at the next attempt.
_REFUSALS = frozenset(("OutputNotWritable", "AccessDenied"))
logger = logging.getLogger(__name__)


def missing_exports(output: Output, folder: RunFolder, result: TrainingResult) -> Tuple[ExportName, ...]:
    """Return the exports that are asked for, and of which the result does not know what became, or that are gone."""
    settled = {
        export.name
        for export in result.exports or ()
        if export.path is None or _is_whole(folder.stored(export.path), export)
    }
    return tuple(dict.fromkeys(name for name in output.exports or () if name not in settled))


def _is_whole(found: Optional[StoredFolder], export: ReportedExport) -> bool:
    return found is not None and found.sha256 == export.sha256


def take_over(
    config: TrainerConfig, folder: RunFolder, made_from: str, reporter: Reporter
) -> Optional[Tuple[RunFolder, TrainingResult]]:
    """Report the result of an earlier run of this name that was made from the same, and return it with its folder.

    Return None where there is none. An operator that does not read in which folder a result lies gets none either.
    """
    if not config.takes_over:
        return None
    earlier = earlier_attempts.result_of_earlier_run(folder, made_from)
    if earlier is None:
        return None
    where, found = earlier
    logger.info(
        "%s was made from the same spec, data and model, so its result is taken over and nothing is trained. To train "
        "again all the same, change training.seed, or move that folder away",
        where.address(),
    )
    return where, report_finished(config.spec.output, where, found.model_copy(update={"folder": where.name}), reporter)


def report_finished(output: Output, folder: RunFolder, result: TrainingResult, reporter: Reporter) -> TrainingResult:
    """Remove old checkpoints and states, name the run in latest.json, and tell the reporter. Return `result`.

    Everything that the run has written is stored then. If the output refuses latest.json, the log warns of it. A run
    whose model is not accepted is not named there.
    """
    folder.wait_until_written()
    folder.prune(CHECKPOINTS, output.keep_checkpoints)
    folder.prune(RESUME, keep=0)
    folder.wait_until_written()
    judgement = result.acceptance
    if judgement is None or judgement.accepted:
        _name_in_latest(folder, result)
    else:
        logger.warning("not accepted, so %s is left as it is: %s", LATEST_FILE, judgement.message)
    reporter.tell(**{name: getattr(result, name) for name in TrainerReport.model_fields})
    logger.info("%s; the model is %s", result.message, folder.address(MODEL))
    return result


def _name_in_latest(folder: RunFolder, result: TrainingResult) -> None:
    latest = _latest(folder, result)
    with _warned_of_latest():
        folder.update_latest(lambda known: latest if _is_newer(latest, known) else None)
        folder.wait_until_written()


@contextlib.contextmanager
def _warned_of_latest() -> Iterator[None]:
    try:
        yield
    except TrainerError as error:
        if error.reason not in _REFUSALS:
            raise
        # The error's own message advises a new run. Its cause is what the store or the volume said.
        logger.warning(
            "cannot name this run in %s: %s. The model is whole and no new run is needed; let runs read and write %s "
            "in output.uri",
            LATEST_FILE,
            error.__cause__ or error,
            LATEST_FILE,
        )


def _is_newer(latest: Dict[str, Any], known: Optional[Dict[str, Any]]) -> bool:
    # The pod of an old run may be started again only to report. It must not replace a newer run.
    return known is None or (known != latest and str(known.get("finished", "")) <= latest["finished"])


def _latest(folder: RunFolder, result: TrainingResult) -> Dict[str, Any]:
    model, figures, progress = result.model, result.result, result.progress
    return {
        "run": folder.name,
        "uid": folder.uid,
        "model": f"{folder.name}/{MODEL}",
        "sha256": model.sha256 if model else "",
        "metric": result.metric.name if result.metric else "",
        "score": (figures.score if figures else None) or "",
        "wer": figures.wer if figures else "",
        "normalizedWer": figures.normalized_wer if figures else "",
        "verdict": result.verdict or "",
        **({"evaluations": {each.name: each.verdict for each in result.evaluations}} if result.evaluations else {}),
        "finished": (progress.update_time if progress else None) or "",
    }
