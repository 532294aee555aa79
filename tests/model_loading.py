"""Load the model of a configuration as a training does."""

from __future__ import annotations

from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.model import model
from whisper_finetune_trainer.model.model import LoadedModel


def load_model(config: TrainerConfig) -> LoadedModel:
    """Return the model, of the Hub at its newest commit."""
    return model.load_model(config.spec, None, config.volumes, config.scratch_folder)
