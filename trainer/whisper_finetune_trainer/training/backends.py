"""Open the backend of an accelerator. It is loaded only where it is used, because other images lack its libraries."""

import importlib
from typing import Callable

from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.ipu import environment
from whisper_finetune_trainer.model.backend import Backend, BackendSettings
from whisper_finetune_trainer.model.model import LoadedModel


def open_backend(
    settings: BackendSettings,
    loaded: LoadedModel,
    clips: Clips,
    check_stop: Callable[[], None] = lambda: None,
    on_read: Callable[[], None] = lambda: None,
) -> Backend:
    """Return the backend of an accelerator. Raises AcceleratorUnavailable where the hardware is missing.

    `check_stop` is called while a clip to train on is waited for, and raises where the training is to end. `on_read` is
    called when more of a stream has been read.
    """
    if settings.accelerator == "ipu":
        environment.require_poptorch()
        module = importlib.import_module("whisper_finetune_trainer.ipu.backend")
        ipu_backend: Backend = module.IpuBackend(settings, loaded, clips, check_stop, on_read)
        return ipu_backend
    module = importlib.import_module("whisper_finetune_trainer.pytorch.backend")
    backend: Backend = module.TorchBackend(settings, loaded, clips, check_stop, on_read)
    return backend
