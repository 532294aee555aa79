"""A run's output in a repository of the Hugging Face Hub: one commit at the end, with the model at its root.

Until then everything is in the scratch space, and is lost with the pod. So no attempt can resume from another.
"""

import uuid
from pathlib import Path
from typing import Callable, ContextManager, Iterable, List, Mapping, Optional, Tuple

from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

from whisper_finetune_trainer.machine.scratch_space import OutputNeed
from whisper_finetune_trainer.output import storage
from whisper_finetune_trainer.output.storage import Fault
from whisper_finetune_trainer.output.uploads import UploadError, Uploads
from whisper_finetune_trainer.output.volume_storage import VolumeStorage
from whisper_finetune_trainer.stores import store_faults
from whisper_finetune_trainer.stores.object_store import Store

_MODEL = "model"
_EXPORTS = "exports"
#: This file of the run tells a later attempt that the run is finished. It is committed beside the model.
_RESULT = "result.json"
#: These files are committed beside the model where `takes_report` asks for them.
_REPORT = ("report.html", "evaluation.jsonl", "tensorboard/events.out.tfevents.run")


class HubStorage:
    """A repository, and the run's folder in the scratch space, from which the commit is made."""

    outlives_the_pod = False

    def __init__(
        self,
        store: Store,
        repository: str,
        run: str,
        staging: Path,
        kept_models: int,
        uploads: Uploads,
        *,
        takes_report: bool = False,
        exports: int = 0,
    ) -> None:
        """`run` is the name of the run's folder. The scratch space keeps the newest `kept_models` models.

        So many `exports` are committed after the model, each in a folder of its own.
        """
        self._store = store
        self._repository = repository
        self._run = run
        self._staging = staging
        self._kept_models = kept_models + exports
        self._beside = (_RESULT, *(_REPORT if takes_report else ()))
        self._local = VolumeStorage(staging, writer=run)
        self._uploads = uploads

    def probe(self, folder: str) -> None:
        """Make the repository if it does not exist. Make and delete a branch in it, which leaves no commit behind."""
        hub = HfApi()
        hub.create_repo(self._repository, private=True, exist_ok=True)
        branch = f"write-probe-{uuid.uuid4().hex[:8]}"
        hub.create_branch(self._repository, branch=branch)
        hub.delete_branch(self._repository, branch=branch)
        self._local.remove_folder(folder)
        self._local.probe(folder)

    def explain(self, error: BaseException) -> Optional[Fault]:
        """Return a permanent failure of the Hub or of the scratch space in words, or None for any other error."""
        cause = error.__cause__ if isinstance(error, UploadError) and error.__cause__ else error
        words = storage.words_of_write_fault(cause) if store_faults.fault_code(cause) is None else None
        if words is not None:
            return storage.full_scratch_fault(words, self._staging)
        explained = self._store.explain(cause, missing="OutputNotWritable", refused="OutputNotWritable")
        return Fault(explained.reason, explained.message, "Then make a new run") if explained else None

    def scratch_need(self, state_bytes: int) -> OutputNeed:
        """Return a need of folders for models and exports that are kept, the one being written, and the final one."""
        models = self._kept_models + 2
        # A state is the weights and two moments of the same size. A model is the weights.
        return OutputNeed(state_bytes // 3, least_folders=models, most_folders=models)

    def allow_folders(self, folders: int) -> None:
        """Do nothing: all folders stay until the commit."""

    def names(self, folder: str) -> Tuple[str, ...]:
        """Return the names in a folder that this attempt has written."""
        return self._local.names(folder)

    def sizes(self, folder: str) -> Mapping[str, int]:
        """Return the bytes of every file below a folder, by its path relative to it.

        For a model that this attempt has not written, they are those in the repository.
        """
        found = self._local.sizes(folder)
        below = self._in_repository(f"{folder}/")
        if found or below is None:
            return found
        tree = HfApi().list_repo_tree(self._repository, recursive=True)
        files = ((entry.path, entry.size) for entry in tree if hasattr(entry, "size"))
        return {path[len(below) :]: size for path, size in files if path.startswith(below)}

    def read_bytes(self, path: str) -> Optional[bytes]:
        """Return what this attempt has written, else what an earlier one has committed, else None."""
        written = self._local.read_bytes(path)
        name = self._in_repository(path)
        if written is not None or not name:
            return written
        try:
            return Path(hf_hub_download(self._repository, name)).read_bytes()
        except LocalEntryNotFoundError:
            # The Hub did not answer, so nobody knows what it has.
            raise
        except (EntryNotFoundError, RepositoryNotFoundError):
            return None

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file into the scratch space."""
        self._local.write_bytes(path, content)

    def update_bytes(self, path: str, change: Callable[[Optional[bytes]], Optional[bytes]]) -> None:
        """Do nothing: a repository's history shows what was the latest."""

    def new_folder(self, folder: str) -> Path:
        """Return an empty folder in the scratch space."""
        return self._local.new_folder(folder)

    def finish_folder(self, folder: str, last_name: str, last_content: bytes) -> None:
        """Finish a folder in the scratch space. Commit the final model, and each export after it, in the background."""
        self._local.finish_folder(folder, last_name, last_content)
        below = self._in_repository(f"{folder}/")
        if below is not None:
            self._uploads.add(folder, lambda: self._commit(folder, below))

    def discard_folder(self, folder: str) -> None:
        """Remove a folder from the scratch space."""
        self._local.remove_folder(folder)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder from the scratch space."""
        self._local.remove_folder(folder)

    def reading(self, folder: str, names: Iterable[str]) -> ContextManager[Path]:
        """Return the folder in the scratch space."""
        return self._local.reading(folder, names)

    def after_writes(self, action: Callable[[], None]) -> None:
        """Call `action` at once: the files are in the scratch space already."""
        action()

    def drop_waiting(self, folder: str) -> None:
        """Do nothing: no folder waits to be written."""

    def check(self) -> None:
        """Raise the UploadError of the commit, if it failed."""
        self._uploads.check()

    def wait(self) -> None:
        """Wait until the commit is made. Raises UploadError."""
        self._uploads.wait()

    def _in_repository(self, path: str) -> Optional[str]:
        """Return the path in the repository of a file of the run, or None for a file that is not committed."""
        below = path[len(self._run) + 1 :]
        if below.startswith(f"{_MODEL}/"):
            return below[len(_MODEL) + 1 :]
        if below.startswith(f"{_EXPORTS}/"):
            return below
        return below if below in self._beside else None

    def _commit(self, folder: str, below: str) -> None:
        """Commit a folder at the path `below` the repository's root, with the run's other files as they are now."""
        local = self._staging / folder
        operations: List[CommitOperationAdd] = [
            CommitOperationAdd(f"{below}{path.relative_to(local).as_posix()}", str(path))
            for path in sorted(local.rglob("*"))
            if path.is_file()
        ]
        for name in self._beside:
            path = self._staging / self._run / name
            if path.is_file():
                operations.append(CommitOperationAdd(name, str(path)))
        HfApi().create_commit(self._repository, operations, commit_message=f"Fine-tune: {self._run}")
