"""One attempt at a run, from a valid configuration on."""

import importlib
import logging

from whisper_finetune_api.run import TrainerConfig, TrainingResult
from whisper_finetune_trainer.progress import Reporter
from whisper_finetune_trainer.stopping import StopRequest

logger = logging.getLogger(__name__)


def make(config: TrainerConfig, reporter: Reporter, stop: StopRequest) -> TrainingResult:
    """Train, or report what an earlier attempt finished; raises what `train.train` raises."""
    logger.info(
        "run %s/%s (%s): %s on %s", config.namespace, config.name, config.uid, config.spec.model, config.accelerator
    )
    with stop.interruptible():
        # torch and transformers take seconds to load: what is wrong with the configuration is said before.
        train = importlib.import_module("whisper_finetune_trainer.train")
    outcome: TrainingResult = train.train(config, reporter, stop)
    return outcome
