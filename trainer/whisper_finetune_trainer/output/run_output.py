"""Open the output of a run, wherever output.uri is."""

import importlib
from pathlib import Path
from typing import Callable, Mapping

from whisper_finetune_api import addresses
from whisper_finetune_api.v1alpha1 import Output, WhisperFineTuneSpec
from whisper_finetune_trainer.output import run_identity
from whisper_finetune_trainer.output.object_storage import ObjectStorage
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.output.storage import Storage
from whisper_finetune_trainer.output.uploads import Uploads
from whisper_finetune_trainer.output.volume_storage import VolumeStorage
from whisper_finetune_trainer.stores import object_store, volumes


def open_run_folder(
    spec: WhisperFineTuneSpec,
    name: str,
    uid: str,
    mounted: Mapping[str, str],
    scratch_folder: str,
    check_grace: Callable[[], None],
) -> RunFolder:
    """Return the run's folder. Call `prepare` before writing to it. Raises TrainerError where it cannot be opened.

    `name` is the folder's name below `output.uri`, and `mounted` has the local folder of each claim. `check_grace` is
    called while uploads are waited for, and raises Stopped in time for the termination message.
    """
    fields = run_identity.training_fields_digest(spec)
    storage = _open_storage(spec.output, name, mounted, scratch_folder, check_grace)
    return RunFolder(storage, name, spec.output.uri, uid, fields)


def _open_storage(
    output: Output, name: str, mounted: Mapping[str, str], scratch_folder: str, check_grace: Callable[[], None]
) -> Storage:
    uri = output.uri
    parsed = addresses.parse_address(uri)
    if parsed is None or parsed.scheme == "pvc":
        path = volumes.local_path(uri, "output.uri", mounted)
        return VolumeStorage(path, writer=name, mount=volumes.mount_of(uri, mounted))
    staging = Path(scratch_folder, "output")
    store = object_store.open_store(uri, "output.uri")
    uploads = Uploads(check_grace)
    if parsed.scheme == "hf":
        # The Hub's library takes long to load, and few runs write there.
        hub_storage = importlib.import_module("whisper_finetune_trainer.output.hub_storage")
        repository = f"{parsed.authority}/{parsed.path}"
        storage: Storage = hub_storage.HubStorage(
            store,
            repository,
            name,
            staging,
            output.keep_checkpoints,
            uploads,
            takes_report=output.takes_report,
            exports=len(output.exports or ()),
        )
        return storage
    return ObjectStorage(store, staging, uploads)
