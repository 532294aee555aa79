"""The folder of one run below output.uri, with checkpoints/, resume/, model/ and the small files beside them."""

import contextlib
import json
import logging
import re
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, Optional, Tuple

from whisper_finetune_api.v1alpha1.scores import WordErrorRate
from whisper_finetune_trainer.machine import scratch_space
from whisper_finetune_trainer.machine.scratch_space import ScratchShares
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.output import folder_manifest
from whisper_finetune_trainer.output.folder_manifest import OpenedFolder, StoredFolder
from whisper_finetune_trainer.output.storage import Fault, Storage

#: Models that the user keeps, each a plain Hugging Face folder.
CHECKPOINTS = "checkpoints"
#: Training states that a new attempt resumes from.
RESUME = "resume"
MODEL = "model"
LATEST_FILE = "latest.json"
_UID8 = re.compile(r"-[0-9a-f]{8}$")
_STEP = re.compile(r"^checkpoint-(\d{1,9})$")
logger = logging.getLogger(__name__)


class RunFolder:
    """What a run writes and later attempts read. A permanent failure of the storage raises TrainerError.

    A write may still be on its way when the method returns. `wait_until_written` and `after_writes` tell when it is
    stored.
    """

    def __init__(self, storage: Storage, name: str, uri: str, uid: str, training_fields: str) -> None:
        """`name` is the folder's name below `uri`, which is the address that users know.

        `training_fields` is the digest of the fields that decide the weights.
        """
        self.name = name
        self._storage = storage
        self._uri = uri
        self.uid = uid
        self._training_fields = training_fields
        self._newest_state: Optional[str] = None
        self._has_warned_of_old_folders = False

    @property
    def outlives_the_pod(self) -> bool:
        """Whether another attempt finds what this one has written, before the run is finished."""
        return self._storage.outlives_the_pod

    def stored(self, path: str) -> Optional[StoredFolder]:
        """Return the folder if this run wrote it and all its files have their size, else None."""
        with self._explained(path):
            found = folder_manifest.find_stored_folder(self._storage, self.name, path)
        return found if found is not None and self._is_own(found.manifest) else None

    def checkpoints(self, kind: str) -> Tuple[StoredFolder, ...]:
        """Return the whole folders of CHECKPOINTS or RESUME, oldest step first."""
        with self._explained(self.name):
            names = [name for name in self._storage.names(self._below(kind)) if _STEP.match(name)]
        stored = (self.stored(f"{kind}/{name}") for name in names)
        found = tuple(sorted((item for item in stored if item), key=lambda item: item.manifest.step))
        if kind == RESUME and found:
            self._remember(found[-1].path)
        return found

    @contextlib.contextmanager
    def newest_to_resume(self) -> Iterator[Optional[OpenedFolder]]:
        """Yield the newest state whose content is what was written, or None."""
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
        """Yield a local folder with the files of a whole folder, for as long as the context lasts."""
        with self._storage.reading(self._below(stored.path), stored.manifest.files) as local:
            yield local

    def read_json(self, path: str) -> Optional[Dict[str, Any]]:
        """Return the JSON object of a file in the run's folder, or None where it does not exist or is broken."""
        with self._explained(path):
            return _json_object(self._storage.read_bytes(self._below(path)))

    def address(self, path: str = "", run: Optional[str] = None) -> str:
        """Return the address of a path in the run's folder, or in that of another `run`, as a user would write it."""
        if self._uri.startswith("hf://"):
            # A run writes one commit, and its files have no address of their own.
            return self._uri
        return "/".join(part for part in (self._uri.rstrip("/"), run or self.name, path) if part)

    def prepare(self) -> None:
        """Find out whether the output can be written, and remove what a killed attempt wrote half."""
        # First, so that the message about an output that cannot be written names the newest checkpoint.
        self.checkpoints(RESUME)
        with self._explained(self.name):
            self._storage.probe(self.name)
            for kind in (CHECKPOINTS, RESUME):
                for name in self._storage.names(self._below(kind)):
                    if folder_manifest.find_stored_folder(self._storage, self.name, f"{kind}/{name}") is None:
                        logger.info("removing %s/%s: it is not whole", kind, name)
                        self._storage.remove_folder(self._below(f"{kind}/{name}"))

    def divide_scratch(self, state_bytes: int, resumed_bytes: int, limit_bytes: int) -> ScratchShares:
        """Divide the scratch space, and limit the output to its share of it. Return all shares.

        Raises ConfigInvalid where the output's share is too small. The arguments are those of
        `scratch_space.divide_scratch`.
        """
        need = self._storage.scratch_need(state_bytes)
        shares = scratch_space.divide_scratch(limit_bytes, need, resumed_bytes, self._uri)
        self._storage.allow_folders(shares.output_folders)
        return shares

    def write_folder(
        self,
        path: str,
        step: int,
        fill: Callable[[Path], None],
        figures: Optional[WordErrorRate] = None,
        made_from: Optional[str] = None,
        before_whole: Callable[[StoredFolder], None] = lambda _folder: None,
    ) -> StoredFolder:
        """Make a new folder, have `fill` fill it, and finish it. Return it as it will be stored.

        `figures` and `made_from` are written into its manifest. `before_whole` is called with the folder as it will be
        stored, just before it is finished.
        """
        with self._explained(path):
            folder = self._storage.new_folder(self._below(path))
            try:
                fill(folder)
                described = folder_manifest.describe_folder(
                    folder, self.uid, self._training_fields, step, figures, made_from
                )
                content = folder_manifest.render_manifest(described)
                stored = StoredFolder(path, described, folder_manifest.sha256(content))
                before_whole(stored)
                self._storage.finish_folder(self._below(path), folder_manifest.NAME, content)
            except Exception:
                self._storage.discard_folder(self._below(path))
                raise
            if path.startswith(f"{RESUME}/"):
                self._storage.after_writes(lambda: self._remember(path))
        return stored

    def earlier_runs(self, path: str) -> Iterator[Tuple["RunFolder", StoredFolder]]:
        """Yield the folders that other runs of this name left, each with its own folder at `path`, where it is whole.

        None is found where the output does not outlive the pod, and none of other training fields.
        """
        if not self.outlives_the_pod:
            return
        own_name = self.name.rpartition("-")[0]
        for name in self._names_beside():
            if name.rpartition("-")[0] == own_name and name != self.name and _UID8.search(name):
                with self._explained(name):
                    found = folder_manifest.find_stored_folder(self._storage, name, path)
                if found is not None and found.manifest.training_fields == self._training_fields:
                    yield RunFolder(self._storage, name, self._uri, found.manifest.uid, self._training_fields), found

    def forget_states_after(self, step: int) -> None:
        """Remove the states after a step, such as damaged ones. They would be taken for the newest."""
        self._remove(RESUME, step)

    def forget_all_steps(self) -> None:
        """Remove all states and checkpoints, because the training begins anew."""
        self._remove(RESUME, 0)
        self._remove(CHECKPOINTS, 0)

    def prune(self, kind: str, keep: int, also: FrozenSet[int] = frozenset()) -> None:
        """Remove the folders of a kind, but keep the newest `keep` and those of the steps in `also`.

        That happens once everything written so far is stored. An old folder that cannot be removed only costs room. The
        log says so once, and the run goes on.
        """
        self.after_writes(lambda: self._try_to_prune(kind, keep, also))

    def after_writes(self, action: Callable[[], None]) -> None:
        """Call `action` once everything written so far is stored. That may be in another thread."""
        with self._explained(self.name):
            self._storage.after_writes(action)

    def drop_waiting_states(self) -> None:
        """Do not write states that still wait, because a newer one is about to replace them."""
        self._storage.drop_waiting(self._below(RESUME))

    def check(self) -> None:
        """Raise TrainerError if a write in the background has failed for good."""
        with self._explained(self.name):
            self._storage.check()

    def wait_until_written(self) -> None:
        """Wait until everything that was written is stored."""
        with self._explained(self.name):
            self._storage.wait()

    def write_json(self, path: str, content: Dict[str, Any]) -> None:
        """Write a JSON object. A reader finds it whole or not at all."""
        self.write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, path: str, text: str) -> None:
        """Write a text file in UTF-8. A reader finds it whole or not at all."""
        self.write_bytes(path, text.encode())

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file. A reader finds it whole or not at all."""
        with self._explained(path):
            self._storage.write_bytes(self._below(path), content)

    def update_latest(self, change: Callable[[Optional[Dict[str, Any]]], Optional[Dict[str, Any]]]) -> None:
        """Replace the file about the newest finished run of output.uri by what `change` returns, unless it is None."""

        def render(known: Optional[bytes]) -> Optional[bytes]:
            latest = change(_json_object(known))
            return None if latest is None else (json.dumps(latest, indent=1) + "\n").encode()

        with self._explained(LATEST_FILE):
            self._storage.update_bytes(LATEST_FILE, render)

    def _names_beside(self) -> Tuple[str, ...]:
        try:
            with self._explained(self.name):
                return self._storage.names("")
        except TrainerError as error:
            # Keys that reach this run's folder alone are enough to train.
            logger.info("earlier runs are not looked for: %s", error.__cause__ or error)
            return ()

    def _remove(self, kind: str, after_step: int) -> None:
        newer = [stored for stored in self.checkpoints(kind) if stored.manifest.step > after_step]
        with self._explained(kind):
            for stored in newer:
                self._storage.remove_folder(self._below(stored.path))
        if kind == RESUME:
            self._newest_state = None
            self.checkpoints(RESUME)

    def _try_to_prune(self, kind: str, keep: int, also: FrozenSet[int]) -> None:
        try:
            self._prune(kind, keep, also)
        except Exception as error:  # noqa: BLE001 -- whatever keeps an old folder, the model must still be written
            if not self._has_warned_of_old_folders:
                self._has_warned_of_old_folders = True
                logger.warning(
                    "cannot remove old folders of %s: %s. The run goes on. Once it is finished, remove old %s/ and "
                    "all of %s/ by hand",
                    self.address(kind),
                    error.__cause__ or error,
                    CHECKPOINTS,
                    RESUME,
                )

    def _prune(self, kind: str, keep: int, also: FrozenSet[int]) -> None:
        found = self.checkpoints(kind)
        for old in found[: max(0, len(found) - keep)]:
            if old.manifest.step not in also:
                self._storage.remove_folder(self._below(old.path))

    def _is_own(self, found: folder_manifest.Manifest) -> bool:
        return (found.uid, found.training_fields) == (self.uid, self._training_fields)

    def _below(self, path: str) -> str:
        return f"{self.name}/{path}"

    def _remember(self, state: str) -> None:
        self._newest_state = state

    @contextlib.contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except TrainerError:
            raise
        except Exception as error:
            if isinstance(error.__cause__, TrainerError):
                # It is the error of an action after writes, and is explained already.
                raise error.__cause__ from error
            fault = self._storage.explain(error)
            if fault is None:
                raise
            raise TrainerError(fault.reason, self._message(path, fault)) from error

    def _message(self, path: str, fault: Fault) -> str:
        where = fault.path[len(self.name) + 1 :] if fault.path else path
        address = self._uri if where == self.name else self.address(where)
        newest = self._newest_state
        saved = f"the newest whole checkpoint is {newest}" if newest else "no checkpoint is whole yet"
        return f"cannot write {address}: {fault.words}; {saved}. {fault.advice}"


def _json_object(content: Optional[bytes]) -> Optional[Dict[str, Any]]:
    try:
        found = json.loads(content) if content is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
