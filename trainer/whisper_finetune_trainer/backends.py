"""The backend of each accelerator, loaded only where it is used: each needs libraries that the others' images lack."""

import importlib

from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.backend import Backend
from whisper_finetune_trainer.clips import Clips
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.model import LoadedModel

_TORCH_ACCELERATORS = ("cpu", "cuda")


def open_backend(config: TrainerConfig, loaded: LoadedModel, clips: Clips) -> Backend:
    """Return the backend of the configuration's accelerator; AcceleratorUnavailable where the hardware is not there."""
    if config.accelerator not in _TORCH_ACCELERATORS:
        raise TrainerError("ConfigInvalid", f"this version has no backend for accelerator {config.accelerator}")
    module = importlib.import_module("whisper_finetune_trainer.torch_backend")
    backend: Backend = module.TorchBackend(config, loaded, clips)
    return backend
