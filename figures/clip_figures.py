"""The modules that one clip goes through, from a manifest of JSON lines to the first training step on the CPU."""

import tempfile
from pathlib import Path

import clip_loading
import model_loading
import tiny_whisper
import tones
import trainer_configs
from call_tracing import trace
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.model import clip_fitting
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.pytorch.backend import TorchBackend

_CLIPS = 12
_TRAINING = {"training.steps": 2, "training.batchSize": 4, "training.precision": "Float"}


def modules_of_one_clip() -> frozenset[str]:
    """Return the project's modules that are entered. The model is loaded before."""
    with tempfile.TemporaryDirectory() as folder:
        volume = Path(folder)
        tiny_whisper.build(volume / "model")
        tones.write_clips(volume / "clips", _CLIPS)
        config = trainer_configs.config_on(volume, _TRAINING).model_copy(update={"scratch_folder": folder})
        loaded = model_loading.load_model(config)
        return trace(lambda: _take_one_step(config, loaded)).modules


def _take_one_step(config: TrainerConfig, loaded: LoadedModel) -> None:
    clips = clip_fitting.fit_clips(clip_loading.load_clips(config), loaded, config.accelerator)
    next(iter(TorchBackend(tiny_whisper.backend_settings(config), loaded, clips).steps(0)))
