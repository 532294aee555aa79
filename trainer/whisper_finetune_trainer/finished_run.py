"""A run whose model is whole: what is left to do, in the attempt that made it and in any later one."""

import logging
from typing import Any, Dict, Optional

from whisper_finetune_api.run import TrainerConfig, TrainerReport, TrainingResult
from whisper_finetune_trainer.progress import Reporter
from whisper_finetune_trainer.run_folder import CHECKPOINTS, MODEL, RESUME, RunFolder

logger = logging.getLogger(__name__)


def report(config: TrainerConfig, folder: RunFolder, result: TrainingResult, reporter: Reporter) -> TrainingResult:
    """Remove what the run no longer needs, name it in latest.json, tell the reporter; return the result as it is.

    All that the run has written is whole then.
    """
    folder.prune(CHECKPOINTS, config.spec.output.keep_checkpoints)
    folder.prune(RESUME, keep=0)
    latest = _latest(folder, result)
    folder.update_latest(lambda known: latest if _is_newer(latest, known) else None)
    folder.wait_until_written()
    reporter.tell(**{name: getattr(result, name) for name in TrainerReport.model_fields})
    logger.info("%s; the model is %s", result.message, folder.address(MODEL))
    return result


def _is_newer(latest: Dict[str, str], known: Optional[Dict[str, Any]]) -> bool:
    # An old run's pod that is started again only to report must not push a newer run aside.
    return known is None or (known != latest and str(known.get("finished", "")) <= latest["finished"])


def _latest(folder: RunFolder, result: TrainingResult) -> Dict[str, str]:
    model, figures, progress = result.model, result.result, result.progress
    return {
        "run": folder.name,
        "uid": folder.uid,
        "model": f"{folder.name}/{MODEL}",
        "sha256": model.sha256 if model else "",
        "wer": figures.wer if figures else "",
        "normalizedWer": figures.normalized_wer if figures else "",
        "finished": (progress.update_time if progress else None) or "",
    }
