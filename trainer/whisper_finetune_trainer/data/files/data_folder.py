"""The folder that a data set is read from, whatever it lies on. Paths are relative to it, with slashes."""

import posixpath
from functools import lru_cache
from typing import Any, Mapping, NamedTuple, Optional, Tuple

from typing_extensions import Literal

from whisper_finetune_trainer.stores import volumes
from whisper_finetune_trainer.stores.volumes import Mount

Kind = Literal["file", "folder"]


class _Entry(NamedTuple):
    kind: Kind
    size_bytes: int


class DataFolder:
    """Lists what is there. Methods raise what the filesystem does, PermissionError among it."""

    def __init__(
        self, filesystem: Any, root: str, address: str, prefix: str = "", mount: Optional[Mount] = None
    ) -> None:
        """`filesystem` is fsspec's, `root` a path of it. `prefix` makes a path of it an address to open.

        Of a folder of this machine, `mount` is what its links may lead to.
        """
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self._prefix = prefix
        self._mount = mount
        #: What the spec calls this folder.
        self.address = address
        self._listing = lru_cache(maxsize=64)(self._list)

    @property
    def root(self) -> str:
        """Return the folder as an address, or a path of this machine."""
        return self._prefix + self._root

    def file(self, path: str) -> str:
        """Return what `source_files` opens a path by. RefusedFileError where its links lead out of the mount."""
        return self._prefix + self._full(path)

    def relative(self, path: str) -> Optional[str]:
        """Return a path of a manifest below this folder, None for one outside. It may be a whole path or an address.

        It is compared as text: how clips are called does not depend on links.
        """
        plain = path[len(self._prefix) :] if self._prefix and path.startswith(self._prefix) else path
        is_whole = plain.startswith("/") or "://" in plain or plain is not path
        found = posixpath.normpath(plain if is_whole else f"{self._root}/{plain}")
        return found[len(self._root) + 1 :] if found.startswith(f"{self._root}/") else None

    def kind(self, path: str) -> Optional[Kind]:
        """Return what lies at a path, if anything does."""
        try:
            found = self._filesystem.info(self._full(path))
        except OSError as error:
            if not volumes.says_nothing_is_there(error):
                raise
            return None
        return self._kind_of({**found, "name": self._full(path)})

    def names(self, path: str = "") -> Tuple[str, ...]:
        """Return the names in a folder in order, nothing where there is no such folder."""
        return tuple(self._listing(path))

    def is_file(self, path: str) -> bool:
        """Return whether a path is a file, by the listing of its folder: many are asked for."""
        folder, name = posixpath.split(path)
        return self._kind_in(folder, name) == "file"

    def size_bytes(self, path: str) -> int:
        """Return the size of a file by the listing of its folder, 0 for one that is not there."""
        folder, name = posixpath.split(path)
        entry = self._listing(folder).get(name)
        return entry.size_bytes if entry else 0

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a folder, by the listing of the one around it."""
        folder, name = posixpath.split(path)
        return self._kind_in(folder, name) == "folder"

    def _kind_in(self, folder: str, name: str) -> Optional[Kind]:
        entry = self._listing(folder).get(name)
        return entry.kind if entry else None

    def _list(self, path: str) -> Mapping[str, _Entry]:
        full = self._full(path)
        try:
            found = self._filesystem.ls(full, detail=True)
        except OSError as error:
            if not volumes.says_nothing_is_there(error):
                raise
            return {}
        entries = ((posixpath.basename(entry["name"].rstrip("/")), entry) for entry in found)
        # A store may list the folder itself, as the empty object that some tools leave there.
        kept = ((name, entry) for name, entry in entries if entry["name"].rstrip("/") != full)
        return {name: _Entry(self._kind_of(entry), entry.get("size") or 0) for name, entry in sorted(kept, key=_name)}

    def _kind_of(self, entry: Mapping[str, Any]) -> Kind:
        is_link = entry.get("islink") or entry["type"] == "link"
        is_folder = self._filesystem.isdir(entry["name"]) if is_link else entry["type"] == "directory"
        return "folder" if is_folder else "file"

    def _full(self, path: str) -> str:
        full = f"{self._root}/{path}" if path else self._root
        return full if self._mount is None else self._mount.resolve(full)


def _name(listed: Tuple[str, Any]) -> str:
    return listed[0]
