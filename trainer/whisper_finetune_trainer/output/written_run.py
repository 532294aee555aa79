"""What a run has written so far, to be read: whole folders, and the small files beside them."""

import contextlib
import json
import logging
import re
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.output import folder_manifest, stored_folder
from whisper_finetune_trainer.output.storage import Fault, Storage
from whisper_finetune_trainer.output.stored_folder import OpenedFolder, StoredFolder

#: Models that the user keeps, each a plain Hugging Face folder.
CHECKPOINTS = "checkpoints"
#: States that a new attempt goes on from.
RESUME = "resume"

_STEP = re.compile(r"^checkpoint-(\d{1,9})$")
logger = logging.getLogger(__name__)


class WrittenRun:
    """The folder of one run below output.uri; a storage that fails for good raises TrainerError."""

    def __init__(self, storage: Storage, name: str, uri: str, uid: str, training_fields: str) -> None:
        """`name` is the folder's below `uri`, the address that people know it by."""
        self.name = name
        self._storage = storage
        self._uri = uri
        self.uid = uid
        self._training_fields = training_fields
        self._newest_state: Optional[str] = None

    @property
    def outlives_the_pod(self) -> bool:
        """Return whether another attempt finds what this one has written, before the run is finished."""
        return self._storage.outlives_the_pod

    def stored(self, path: str) -> Optional[StoredFolder]:
        """Return a folder if it is whole by its sizes and of this run, else None."""
        with self.explained(path):
            found = stored_folder.find(self._storage, self.name, path)
        return found if found is not None and self._is_own(found.manifest) else None

    def checkpoints(self, kind: str) -> Tuple[StoredFolder, ...]:
        """Return the whole folders of CHECKPOINTS or RESUME, oldest step first."""
        with self.explained(self.name):
            names = [name for name in self._storage.names(self._below(kind)) if _STEP.match(name)]
        stored = (self.stored(f"{kind}/{name}") for name in names)
        found = tuple(sorted((item for item in stored if item), key=lambda item: item.manifest.step))
        if kind == RESUME and found:
            self._remember(found[-1].path)
        return found

    @contextlib.contextmanager
    def newest_to_resume(self) -> Iterator[Optional[OpenedFolder]]:
        """Yield the newest state whose content is what was written, else None."""
        for candidate in reversed(self.checkpoints(RESUME)):
            with self.reading(candidate) as local:
                changed = folder_manifest.first_changed_file(candidate.manifest, local)
                if changed is None:
                    yield OpenedFolder(candidate, local)
                    return
            logger.warning("%s/%s is damaged; trying an older checkpoint", candidate.path, changed)
        yield None

    @contextlib.contextmanager
    def reading(self, stored: StoredFolder) -> Iterator[Path]:
        """Yield where a whole folder's files can be read for now."""
        with self._storage.reading(self._below(stored.path), stored.manifest.files) as local:
            yield local

    def read_json(self, path: str) -> Optional[Dict[str, Any]]:
        """Return a JSON object beside the checkpoints, or None where there is none or it is broken."""
        with self.explained(path):
            return json_object(self._storage.read_bytes(self._below(path)))

    def address(self, path: str = "") -> str:
        """Return the address of something of the run, as the user would write it."""
        if self._uri.startswith("hf://"):
            # All that is there is one commit.
            return self._uri
        return "/".join(part for part in (self._uri.rstrip("/"), self.name, path) if part)

    def _is_own(self, found: folder_manifest.Manifest) -> bool:
        return (found.uid, found.training_fields) == (self.uid, self._training_fields)

    def _below(self, path: str) -> str:
        return f"{self.name}/{path}"

    def _remember(self, state: str) -> None:
        self._newest_state = state

    @contextlib.contextmanager
    def explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except TrainerError:
            raise
        except Exception as error:
            if isinstance(error.__cause__, TrainerError):
                # Of something that was done after writes, which has explained itself.
                raise error.__cause__ from error
            fault = self._storage.explain(error)
            if fault is None:
                raise
            raise TrainerError(fault.reason, self._explain(path, fault)) from error

    def _explain(self, path: str, fault: Fault) -> str:
        where = fault.path[len(self.name) + 1 :] if fault.path else path
        address = self._uri if where == self.name else self.address(where)
        newest = self._newest_state
        saved = f"the newest whole checkpoint is {newest}" if newest else "no checkpoint is whole yet"
        return f"cannot write {address}: {fault.words}; {saved}. {fault.advice}"


def json_object(content: Optional[bytes]) -> Optional[Dict[str, Any]]:
    try:
        found = json.loads(content) if content is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
