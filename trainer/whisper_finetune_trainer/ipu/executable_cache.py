"""The volume that keeps compiled executables. A second run of the same shapes need not compile."""

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import MutableMapping, Optional

#: The name that the notebook gives to its cache.
FOLDER = "whisper"
_POPLAR, _POPTORCH = "POPLAR_EXECUTABLE_CACHE_DIR", "POPTORCH_CACHE_DIR"
#: An executable that does not fit would end the run during its first compilation.
_LEAST_FREE_BYTES = 2 << 30
_GIBIBYTE = 1 << 30
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExecutableCache:
    """The folder for IPUConfig, None without a cache. `fault` says in words why a cache is not used."""

    folder: Optional[str]
    fault: Optional[str] = None


def prepare_executable_cache(
    environment: MutableMapping[str, str], least_free_bytes: int = _LEAST_FREE_BYTES
) -> ExecutableCache:
    """Return the cache that the environment names.

    A cache that cannot be written is not used: its variables are removed from `environment`, where PopTorch reads them.
    """
    root = environment.get(_POPLAR) or environment.get(_POPTORCH)
    if not root:
        return ExecutableCache(None)
    folder = Path(root, FOLDER)
    fault = _fault_of(folder, least_free_bytes)
    if fault is None:
        return ExecutableCache(str(folder))
    logger.warning("executable cache %s is not used, so every attempt compiles anew: %s", folder, fault)
    for name in (_POPLAR, _POPTORCH):
        environment.pop(name, None)
    return ExecutableCache(None, fault)


def _fault_of(folder: Path, least_free_bytes: int) -> Optional[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"can this be written?\n")
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return error.strerror or str(error)
    if free < least_free_bytes:
        return f"only {free / _GIBIBYTE:.1f} GiB are free, {least_free_bytes / _GIBIBYTE:.1f} are needed"
    return None
