"""Write the report of a finished training into the run's folder, and TensorBoard's events beside it."""

import time

from whisper_finetune_api.run import TrainerConfig, TrainingResult
from whisper_finetune_trainer import cpu_count
from whisper_finetune_trainer.data import audio
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.report import clip_sounds, report_data, report_page, tensorboard_events
from whisper_finetune_trainer.report.report_data import FinishedTraining

FILE = "report.html"


def write(folder: RunFolder, finished: FinishedTraining) -> TrainingResult:
    """Write both and return the result with the report named; nothing else of the run reads them."""
    data = report_data.gather(finished)
    shown = [change.clip for change in data.changes.shown_in_turn()]
    sounds = clip_sounds.data_uris(shown, lambda clip: audio.read(clip.audio))
    started = time.time() - sum(stretch.seconds for stretch in finished.stretches)
    events = tensorboard_events.render(finished.stretches, (finished.baseline, *finished.history), started)
    folder.write_bytes(tensorboard_events.FILE, events)
    folder.write_text(FILE, report_page.render(data, sounds))
    return finished.result.model_copy(update={"report": FILE})


def devices(config: TrainerConfig) -> int:
    """Return how many IPUs, GPUs or CPUs the trainer holds."""
    if config.accelerator == "cpu":
        return cpu_count.available_cpus()
    return config.ipus or 1
