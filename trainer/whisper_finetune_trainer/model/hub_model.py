"""Fetch a model from the Hugging Face Hub: its weights once, and the texts beside them."""

from pathlib import Path
from typing import ContextManager, Optional

from huggingface_hub import HfApi, snapshot_download

from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.messages.quoting import listed
from whisper_finetune_trainer.model import foreign_models, model_files
from whisper_finetune_trainer.stores import hub

_CONFIG = "config.json"


def newest_commit(model: str, revision: Optional[str]) -> Optional[str]:
    """Return the commit that a revision stands for now; raises what `download` does."""
    with _explained(model, revision):
        return HfApi().model_info(model, revision=revision).sha


def download(model: str, revision: Optional[str], cache: Optional[str] = None) -> Path:
    """Return the local folder of a Hub model below `cache`, the library's own where it is None.

    ModelNotFound or AccessDenied; a network fault passes through.
    """
    with _explained(model, revision):
        files = [entry.rfilename for entry in HfApi().model_info(model, revision=revision).siblings or []]
        if _CONFIG not in files:
            held = listed(files) if files else "nothing"
            more = foreign_models.of_folder({name.split("/", 1)[0] for name in files})
            raise TrainerError("ModelNotFound", f"model: {model} has no {_CONFIG}; it holds {held}{more}")
        patterns = [*model_files.TEXTS, *model_files.weights(files)]
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns, cache_dir=cache))


def _explained(model: str, revision: Optional[str]) -> ContextManager[None]:
    page = f"https://huggingface.co/{model}"
    return hub.explained("model", model, revision, missing="ModelNotFound", page=page)
