"""Write the report of a finished training into the run's folder, and TensorBoard's events beside it."""

import contextlib
import logging
import time
from typing import Iterator

from whisper_finetune_api.run import TrainerConfig, TrainingResult
from whisper_finetune_trainer.data.audio import decoding
from whisper_finetune_trainer.machine import cpu_count
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.report import clip_sounds, report_data, report_page, tensorboard_events
from whisper_finetune_trainer.report.report_data import FinishedTraining

FILE = "report.html"
logger = logging.getLogger(__name__)


def write(folder: RunFolder, finished: FinishedTraining) -> TrainingResult:
    """Write both and return the result with the report named; nothing else of the run reads them.

    What is wrong with one of them is logged, and costs neither the other nor the run.
    """
    with _logged("TensorBoard's events"):
        started = time.time() - sum(stretch.seconds for stretch in finished.stretches)
        measured = (finished.baseline, *finished.history)
        folder.write_bytes(tensorboard_events.FILE, tensorboard_events.render(finished.stretches, measured, started))
    with _logged("the report"):
        folder.write_text(FILE, _page(finished))
        return finished.result.model_copy(update={"report": FILE})
    return finished.result


def devices(config: TrainerConfig) -> int:
    """Return how many IPUs, GPUs or CPUs the trainer holds."""
    if config.accelerator == "cpu":
        return cpu_count.available_cpus()
    return config.ipus or 1


def _page(finished: FinishedTraining) -> str:
    data = report_data.gather(finished)
    shown = [change.clip for change in data.changes.shown_in_turn()]
    return report_page.render(data, clip_sounds.data_uris(shown, lambda clip: decoding.read(clip.audio)))


@contextlib.contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except Exception:  # whatever is wrong with it must not cost the model, which comes next
        logger.exception("%s cannot be written; the run goes on without", what)
