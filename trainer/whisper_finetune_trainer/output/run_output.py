"""Open the output of a run, wherever output.uri is."""

import functools
import importlib
from pathlib import Path

from whisper_finetune_api import addresses
from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.output import run_identity
from whisper_finetune_trainer.output.object_storage import ObjectStorage
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.output.storage import Storage
from whisper_finetune_trainer.output.uploads import Uploads
from whisper_finetune_trainer.output.volume_storage import VolumeStorage
from whisper_finetune_trainer.stores import object_store, volumes


def open_run_folder(config: TrainerConfig, stop: StopRequest) -> RunFolder:
    """Return the run's folder. Call `prepare` before writing to it. Raises TrainerError where it cannot be opened.

    After SIGTERM a wait for uploads raises Stopped in time for the termination message.
    """
    name = config.run_folder_name
    fields = run_identity.training_fields_digest(config.spec)
    return RunFolder(_storage(config, name, stop), name, config.spec.output.uri, config.uid, fields)


def _storage(config: TrainerConfig, name: str, stop: StopRequest) -> Storage:
    uri = config.spec.output.uri
    parsed = addresses.parse_address(uri)
    if parsed is None or parsed.scheme == "pvc":
        path = volumes.local_path(uri, "output.uri", config.volumes)
        return VolumeStorage(path, writer=name, mount=volumes.mount_of(uri, config.volumes))
    staging = Path(config.scratch_folder, "output")
    store = object_store.open_store(uri, "output.uri")
    uploads = Uploads(functools.partial(stop.check_grace, config.grace_seconds))
    if parsed.scheme == "hf":
        # The Hub's library takes long to load, and few runs write there.
        hub_storage = importlib.import_module("whisper_finetune_trainer.output.hub_storage")
        repository, settings = f"{parsed.authority}/{parsed.path}", config.spec.output
        storage: Storage = hub_storage.HubStorage(
            store,
            repository,
            name,
            staging,
            settings.keep_checkpoints,
            uploads,
            takes_report=settings.takes_report,
        )
        return storage
    return ObjectStorage(store, staging, uploads)
