"""The IPUs of the emulated partition: how many there are, and which process uses which.

Read from the environment at each call:

- `NUM_AVAILABLE_IPU`: the partition's size. 0 is a machine without IPUs. PopTorch asks the V-IPU controller instead.
- `POPTORCH_EMU_IPU_VERSION`: 21 (Bow) or 2. 0 is a machine without IPUs.
- `POPTORCH_EMU_IN_USE_FOLDER`: a folder with a locked file for each IPU in use, named by
  `IPUOF_VIPU_API_PARTITION_ID`. So processes with the same folder compete for a partition as on hardware. Without it
  a process has its IPUs for itself.
- `POPTORCH_WAIT_FOR_IPU`: as in PopTorch, wait without end for IPUs in use, but never for IPUs that do not exist.
"""

import contextlib
import fcntl
import functools
import os
import tempfile
import time
from pathlib import Path
from typing import IO, List, Optional

from poptorch.errors import Error

LARGEST_PARTITION = 64
POLL_SECONDS = 0.1


def hardware_version() -> int:
    """Return 2 (Mk2) or 21 (Bow), or 0 where there is no IPU."""
    return int(os.environ.get("POPTORCH_EMU_IPU_VERSION", "21")) if size() else 0


def size() -> int:
    """Return how many IPUs the partition has."""
    return int(os.environ.get("NUM_AVAILABLE_IPU", LARGEST_PARTITION))


class Held:
    """IPUs that belong to one executor until they are released, or its process ends."""

    def __init__(self, files: List[IO[bytes]]) -> None:
        self.files = files

    def release(self) -> None:
        """Give the IPUs back; said to the lock itself, since a data loader's workers have inherited the files."""
        for file in self.files:
            fcntl.flock(file, fcntl.LOCK_UN)
            file.close()


def acquire(wanted: int) -> Held:
    """Return a device of so many IPUs; refuse what does not exist, and wait for what is in use only if told so."""
    unmatched = _why_no_device_matches(wanted)
    waiting = os.environ.get("POPTORCH_WAIT_FOR_IPU", "0") not in ("", "0")
    while True:
        held = None if unmatched else _try_to_acquire(wanted)
        if held:
            return held
        if unmatched or not waiting:
            raise Error(f"Failed to acquire {wanted} IPU(s){unmatched}")
        time.sleep(POLL_SECONDS)


def _why_no_device_matches(wanted: int) -> str:
    if hardware_version() == 0:
        return (
            "\nNo IPU detected in the system. \nFor more information use the Graphcore command-line tool `gc-monitor`."
        )
    if wanted > size():
        return f"\nNo device found on the system with {wanted} IPUs: the configuration needs changing"
    return ""


def _try_to_acquire(wanted: int) -> Optional[Held]:
    """Take the first device that is free: devices of n IPUs begin at multiples of n."""
    for first in range(0, size() - wanted + 1, wanted):
        held = _lock_all(range(first, first + wanted))
        if held:
            return held
    return None


def _lock_all(ipus: range) -> Optional[Held]:
    held = Held([])
    for ipu in ipus:
        held.files.append(_file_of(ipu).open("wb"))
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(held.files[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            continue
        held.release()
        return None
    return held


def _file_of(ipu: int) -> Path:
    partition = os.environ.get("IPUOF_VIPU_API_PARTITION_ID", "partition")
    folder = Path(os.environ.get("POPTORCH_EMU_IN_USE_FOLDER") or _own_folder().name)
    return folder / f"{partition}.ipu{ipu}"


@functools.lru_cache(maxsize=None)
def _own_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="poptorch-emulation-")
