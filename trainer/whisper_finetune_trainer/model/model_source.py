"""Get the run's model from the Hub, a volume or an object store."""

import contextlib
import logging
import tempfile
from pathlib import Path
from typing import ContextManager, Iterator, Mapping, Optional, Tuple

from huggingface_hub import HfApi, constants, snapshot_download

from whisper_finetune_api import addresses
from whisper_finetune_trainer.messages.errors import TrainerError, listed
from whisper_finetune_trainer.model import foreign_models, plain_model
from whisper_finetune_trainer.stores import hub, object_store, volumes
from whisper_finetune_trainer.stores.objects import TransferLog
from whisper_finetune_trainer.stores.volumes import Mount

_MEGABYTE = 1e6
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def open_model(
    address: str, revision: Optional[str], volumes_by_claim: Mapping[str, str], scratch_folder: str
) -> Iterator[Path]:
    """Yield a local folder with the model's files to load. A download to the scratch folder is removed afterwards.

    Raises ModelNotFound, AccessDenied or ConfigInvalid. Network faults pass through.
    """
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(_local_model(address, revision, volumes_by_claim, scratch_folder))
        yield stack.enter_context(plain_model.make_plain_folder(*found, address, scratch_folder))


@contextlib.contextmanager
def _local_model(
    address: str, revision: Optional[str], volumes_by_claim: Mapping[str, str], scratch_folder: str
) -> Iterator[Tuple[Path, Mount]]:
    """Yield the folder with the model's files, and the mount that their links must not leave."""
    parsed = addresses.parse_address(address)
    if parsed is None:
        with _hub_cache(scratch_folder) as cache:
            folder = download_from_hub(address, revision, cache)
            # A snapshot (snapshots/COMMIT) consists of links to files in another folder of the model's cache.
            yield folder, Mount(str(folder.parent.parent), "the Hub's cache of the model")
        return
    if revision is not None:
        raise TrainerError("ConfigInvalid", f"modelRevision is for models of the Hub, and model is {address}")
    if parsed.scheme == "pvc":
        yield volumes.local_path(address, "model", volumes_by_claim), volumes.mount_of(address, volumes_by_claim)
        return
    with tempfile.TemporaryDirectory(prefix="model-", dir=scratch_folder) as downloaded:
        _download(address, Path(downloaded))
        yield Path(downloaded), Mount(downloaded, "the download")


@contextlib.contextmanager
def _hub_cache(scratch_folder: str) -> Iterator[Optional[str]]:
    """Yield the folder for a download from the Hub, or None for the library's own cache.

    A cache inside the scratch folder would take its space for good. Then it is a temporary folder.
    """
    if Path(scratch_folder).resolve() not in Path(constants.HF_HUB_CACHE).resolve().parents:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="model-", dir=scratch_folder) as folder:
        yield folder


def _download(address: str, folder: Path) -> None:
    store = object_store.open_store(address, "model")
    with store.explained(missing="ModelNotFound"):
        found = store.filesystem.ls(store.path(), detail=True)
    sizes = {entry["name"].rsplit("/", 1)[-1]: entry["size"] for entry in found if entry["type"] == "file"}
    names = plain_model.needed_files(sorted(sizes))
    if not names:
        more = foreign_models.advice_for_folder([entry["name"].rstrip("/").rsplit("/", 1)[-1] for entry in found])
        held = listed(sorted(sizes)) if sizes else "nothing"
        raise TrainerError("ModelNotFound", f"model: there is no model at {address}; it holds {held}{more}")
    logger.info("downloading %s: %.0f MB", address, sum(sizes[name] for name in names) / _MEGABYTE)
    for name in names:
        with store.explained(missing="ModelNotFound"):
            callback = TransferLog(f"downloading {name}")
            store.filesystem.get_file(store.path(name), str(folder / name), callback=callback)


def newest_model_commit(model: str, revision: Optional[str]) -> Optional[str]:
    """Return the newest commit of a revision. Raises what `download_from_hub` raises."""
    with _explained(model, revision):
        return HfApi().model_info(model, revision=revision).sha


def download_from_hub(model: str, revision: Optional[str], cache: Optional[str] = None) -> Path:
    """Download a model of the Hub and return its local folder. It is in `cache`, or in the library's own cache.

    Raises ModelNotFound or AccessDenied. Network faults pass through.
    """
    with _explained(model, revision):
        files = [entry.rfilename for entry in HfApi().model_info(model, revision=revision).siblings or []]
        if plain_model.CONFIG not in files:
            held = listed(files) if files else "nothing"
            more = foreign_models.advice_for_folder({name.split("/", 1)[0] for name in files})
            raise TrainerError("ModelNotFound", f"model: {model} has no {plain_model.CONFIG}; it holds {held}{more}")
        patterns = [*plain_model.TEXTS, *plain_model.weight_files(files)]
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns, cache_dir=cache))


def _explained(model: str, revision: Optional[str]) -> ContextManager[None]:
    page = f"https://huggingface.co/{model}"
    return hub.explain_hub_faults("model", model, revision, missing="ModelNotFound", page=page)
