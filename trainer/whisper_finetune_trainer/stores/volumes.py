"""The local paths of a spec's addresses. No link leads out of a claim: nothing outside of it is opened."""

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, Mapping

from whisper_finetune_api import addresses
from whisper_finetune_api.causes import Reason
from whisper_finetune_trainer.messages.errors import TrainerError, quoted

#: The reason where the address in a field leads out of its claim. In other fields it is ConfigInvalid.
_REASONS: Dict[str, Reason] = {"dataset.source": "DatasetInvalid", "output.uri": "OutputNotWritable"}


#: Error numbers for a path at which nothing can be, such as a link to itself. Python has no classes for them.
_NOTHING_CAN_BE_THERE = frozenset((errno.ENAMETOOLONG, errno.ELOOP))
#: How the pointer file begins that Git LFS leaves in place of a large file, and what messages say of it.
GIT_LFS = b"version https://git-lfs."
IS_OF_GIT_LFS = "is a pointer of Git LFS, not the file: run `git lfs pull`"


def says_nothing_is_there(error: OSError) -> bool:
    """Return whether an error says that nothing exists at a path."""
    return isinstance(error, (FileNotFoundError, NotADirectoryError)) or error.errno in _NOTHING_CAN_BE_THERE


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder. A path at which nothing can be is not. Raises PermissionError as `stat`."""
    try:
        return path.is_dir()
    except OSError as error:
        if not says_nothing_is_there(error):
            raise
        return False


class RefusedFileError(TrainerError):
    """A file that exists and is not opened: a link out of its claim, a device or a pipe."""

    def __init__(self, message: str, reason: Reason = "DatasetInvalid") -> None:
        """`message` names the file."""
        super().__init__(reason, message)


@dataclass(frozen=True)
class Mount:
    """A local folder where a claim or a cache is mounted."""

    folder: str
    #: The name in messages.
    name: str

    def resolve(self, path: str) -> str:
        """Return a path below the folder with all links resolved.

        Raises RefusedFileError if that is outside of the folder. A link from one path of the folder to another may be
        followed, and the folder itself may be a link.
        """
        root, found = os.path.realpath(self.folder), os.path.realpath(path)
        if found != root and not found.startswith(root.rstrip("/") + "/"):
            below = os.path.relpath(path, self.folder)
            raise RefusedFileError(
                f"{quoted(below)} of {self.name} is a link, or is below a link, that leads outside of {self.name}. It "
                "is not followed; put the file itself there"
            )
        return found


def open_plain(path: str) -> BinaryIO:
    """Open a file for reading. `path` has been resolved.

    A link is not followed, even if it took the place of the file, or of a folder above it, after the path was resolved.
    A pipe is not waited for. Raises RefusedFileError for a pipe, a device or a link, and OSError as `open` does.
    """
    try:
        opened = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 (the caller's to close)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _no_plain_file(path) from error
        raise
    try:
        _require_plain(opened.fileno(), path)
    except BaseException:
        opened.close()
        raise
    return opened


def _no_plain_file(path: str) -> RefusedFileError:
    return RefusedFileError(f"{quoted(path)} is not a plain file but a device, a pipe or a socket")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _require_plain(descriptor: int, path: str) -> None:
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(found.st_mode):
        raise _no_plain_file(path)
    if not _is_without_links(descriptor, path, found):
        raise RefusedFileError(f"{quoted(path)} was replaced by a link while it was opened")


def _is_without_links(descriptor: int, path: str, found: os.stat_result) -> bool:
    try:
        if os.readlink(f"/proc/self/fd/{descriptor}") == path:
            return True
    except OSError:
        # This machine has no /proc.
        pass
    # The kernel may spell the path in another way, for example on a file system that ignores capitals.
    return os.path.realpath(path) == path and os.path.samestat(found, Path(path).stat())


def mount_of(address: str, mounted: Mapping[str, str]) -> Mount:
    """Return the mount of the claim that a `pvc://` address names. Raises KeyError where it is not mounted.

    `mounted` has the local folder of each claim.
    """
    claim = addresses.claim_of(address) or ""
    return Mount(mounted[claim], f"claim {claim}")


def local_path(address: str, field: str, mounted: Mapping[str, str]) -> Path:
    """Return the local path of a `pvc://` address. `field` is the field of the spec that has it.

    Raises ConfigInvalid for any other address and for a claim that is not mounted. Raises RefusedFileError where links
    lead out of the claim.
    """
    parsed = addresses.parse_address(address)
    if parsed is None or parsed.scheme != "pvc":
        kind = "a Hub id" if parsed is None else f"{parsed.scheme}://"
        raise TrainerError(
            "ConfigInvalid",
            f"{field}: {kind} is not supported by this version; copy {address} to a volume and use pvc://claim/path",
        )
    if parsed.authority not in mounted:
        there_are = ", ".join(sorted(mounted)) or "none"
        raise TrainerError(
            "ConfigInvalid",
            f"{field}: claim {parsed.authority} is not mounted here (mounted: {there_are}); "
            f"on a workstation pass --volume {parsed.authority}=FOLDER",
        )
    path = addresses.local_path(address, mounted)
    try:
        mount_of(address, mounted).resolve(path)
    except RefusedFileError as refused:
        raise RefusedFileError(f"{field}: {refused.message}", _REASONS.get(field, "ConfigInvalid")) from None
    return Path(path)


@contextmanager
def readable(address: str, field: str) -> Iterator[None]:
    """Turn a PermissionError while an address is read into AccessDenied."""
    try:
        yield
    except PermissionError as error:
        raise TrainerError(
            "AccessDenied",
            f"{field}: user {os.geteuid()} may not read {quoted(error.filename)} of {address}; "
            "let that user read it, or set fsGroup or runAsUser of the runtime",
        ) from error
