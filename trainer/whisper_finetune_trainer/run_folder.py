"""The folder of one run below output.uri: checkpoints/, resume/, model/ and the small files beside them."""

import contextlib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, Optional, Tuple

from whisper_finetune_api.run import TrainerConfig
from whisper_finetune_trainer import folder_manifest, identity, output_faults, volumes
from whisper_finetune_trainer.errors import TrainerError
from whisper_finetune_trainer.storage import VolumeStorage

#: Models that the user keeps, each a plain Hugging Face folder.
CHECKPOINTS = "checkpoints"
#: States that a new attempt goes on from.
RESUME = "resume"
MODEL = "model"
LATEST_FILE = "latest.json"

_STEP = re.compile(r"^checkpoint-(\d{1,9})$")
_MEBIBYTE = 1 << 20
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredFolder:
    """A whole folder of this run; `path` is below the run's folder, `sha256` that of its manifest."""

    path: str
    manifest: folder_manifest.Manifest
    sha256: str


class RunFolder:
    """What this run has written so far. A volume that cannot be written raises TrainerError(OutputNotWritable)."""

    def __init__(self, storage: VolumeStorage, name: str, uri: str, uid: str, training_fields: str) -> None:
        """`name` is the folder's below `uri`, the address that people know it by."""
        self.name = name
        self._storage = storage
        self._uri = uri
        self.uid = uid
        self._training_fields = training_fields

    def prepare(self) -> None:
        """Find out whether the volume can be written, and remove what a killed attempt left half-written."""
        with self._writing(self.name):
            self._storage.probe(self.name)
            for kind in (CHECKPOINTS, RESUME):
                for name in self._storage.names(self._below(kind)):
                    if self._whole(f"{kind}/{name}") is None:
                        logger.info("removing %s/%s: it is not whole", kind, name)
                        self._storage.remove_folder(self._below(f"{kind}/{name}"))

    def stored(self, path: str) -> Optional[StoredFolder]:
        """Return a folder if it is whole by its sizes and of this run, else None."""
        found = self._whole(path)
        return found if found is not None and self._is_own(found.manifest) else None

    def checkpoints(self, kind: str) -> Tuple[StoredFolder, ...]:
        """Return the whole folders of CHECKPOINTS or RESUME, oldest step first."""
        names = (name for name in self._storage.names(self._below(kind)) if _STEP.match(name))
        found = (self.stored(f"{kind}/{name}") for name in names)
        return tuple(sorted((item for item in found if item), key=lambda item: item.manifest.step))

    def newest_to_resume(self) -> Optional[StoredFolder]:
        """Return the newest state whose content is what was written, else None."""
        for candidate in reversed(self.checkpoints(RESUME)):
            changed = folder_manifest.first_changed_file(candidate.manifest, self.local(candidate.path))
            if changed is None:
                return candidate
            logger.warning("%s/%s is damaged; trying an older checkpoint", candidate.path, changed)
        return None

    def write_folder(
        self,
        path: str,
        step: int,
        fill: Callable[[Path], None],
        wer: Optional[str] = None,
        before_whole: Callable[[StoredFolder], None] = lambda _folder: None,
    ) -> StoredFolder:
        """Fill a new folder and make it whole; `before_whole` is called with what it is about to be."""
        with self._writing(path):
            folder = self._storage.new_folder(self._below(path))
            try:
                fill(folder)
                described = folder_manifest.describe(folder, self.uid, self._training_fields, step, wer)
                content = folder_manifest.render(described)
                stored = StoredFolder(path, described, folder_manifest.sha256(content))
                before_whole(stored)
                self._storage.finish_folder(self._below(path), folder_manifest.NAME, content)
            except Exception:
                # Half a checkpoint is of no use, and on a full disk it is in the way.
                self._storage.remove_folder(self._below(path))
                raise
        return stored

    def prune(self, kind: str, keep: int, also: FrozenSet[int] = frozenset()) -> None:
        """Remove all but the newest `keep` checkpoints of a kind and those of the steps in `also`."""
        found = self.checkpoints(kind)
        with self._writing(kind):
            for old in found[: max(0, len(found) - keep)]:
                if old.manifest.step not in also:
                    self._storage.remove_folder(self._below(old.path))

    def local(self, path: str) -> Path:
        """Return a folder of the run to read from."""
        return self._storage.local_folder(self._below(path))

    def read_json(self, path: str) -> Optional[Dict[str, Any]]:
        """Return a JSON object beside the checkpoints, or None where there is none or it is broken."""
        return _json_object(self._storage.read_bytes(self._below(path)))

    def write_json(self, path: str, content: Dict[str, Any]) -> None:
        """Write a JSON object, whole or not at all."""
        self.write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, path: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        self.write_bytes(path, text.encode())

    def write_bytes(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        with self._writing(path):
            self._storage.write_bytes(self._below(path), content)

    def read_latest(self) -> Optional[Dict[str, Any]]:
        """Return what the newest finished run below output.uri is, whichever run that was."""
        return _json_object(self._storage.read_bytes(LATEST_FILE))

    def write_latest(self, content: Dict[str, Any]) -> None:
        """Name this run as the newest finished one below output.uri."""
        with self._writing(LATEST_FILE):
            self._storage.write_bytes(LATEST_FILE, (json.dumps(content, indent=1) + "\n").encode())

    def address(self, path: str = "") -> str:
        """Return the address of something of the run, as the user would write it."""
        return "/".join(part for part in (self._uri.rstrip("/"), self.name, path) if part)

    def _whole(self, path: str) -> Optional[StoredFolder]:
        content = self._storage.read_bytes(self._below(f"{path}/{folder_manifest.NAME}"))
        found = folder_manifest.parse(content) if content is not None else None
        if content is None or found is None:
            return None
        if not folder_manifest.sizes_match(found, self._storage.sizes(self._below(path))):
            return None
        return StoredFolder(path, found, folder_manifest.sha256(content))

    def _is_own(self, found: folder_manifest.Manifest) -> bool:
        return (found.uid, found.training_fields) == (self.uid, self._training_fields)

    def _below(self, path: str) -> str:
        return f"{self.name}/{path}"

    @contextlib.contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            words = output_faults.cannot_write(error)
            if words is None:
                raise
            raise TrainerError("OutputNotWritable", self._explain(path, words)) from error

    def _explain(self, path: str, words: str) -> str:
        where = self._uri if path == self.name else self.address(path)
        free = self._storage.free_bytes() // _MEBIBYTE
        return (
            f"cannot write {where}: {words} ({free} MiB are free); {self._saved()}. "
            "Make room, or take a larger claim or one that this pod may write, and make a new run"
        )

    def _saved(self) -> str:
        try:
            newest = self.checkpoints(RESUME)[-1:]
        except OSError as error:
            return f"its checkpoints cannot be read: {error.strerror}"
        return f"the newest whole checkpoint is {newest[0].path}" if newest else "no checkpoint is whole yet"


def open_run_folder(config: TrainerConfig) -> RunFolder:
    """Return the run's folder, to be prepared before it is written; TrainerError where it is on no volume."""
    uri = config.spec.output.uri
    root = volumes.local_path(uri, "output.uri", config)
    name = config.run_folder_name
    fields = identity.training_fields_digest(config.spec)
    return RunFolder(VolumeStorage(root, writer=name), name, uri, config.uid, fields)


def _json_object(content: Optional[bytes]) -> Optional[Dict[str, Any]]:
    try:
        found = json.loads(content) if content is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
