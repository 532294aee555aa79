"""Outputs of a frozen encoder, kept in the scratch folder: the encoder then runs once per clip and not once per epoch.

An output is kept in the type that the decoder computes in (bfloat16 under autocast, else float32), so nothing is lost.
"""

import errno
import logging
import os
import tempfile
from itertools import accumulate
from typing import Any, Mapping, Optional, Set

import torch

from whisper_finetune_trainer.data.clips import Clip

logger = logging.getLogger(__name__)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class EncoderCache:
    """One place per clip in a file that has no name, so that it is gone however the process ends."""

    def __init__(self, folder: str, positions: Mapping[Clip, int], width: int, dtype: torch.dtype) -> None:
        """`positions` of each clip's output, which decide its place in the file; OSError where there is no room."""
        self._positions, self._width, self._dtype = positions, width, dtype
        ends = list(accumulate(count * width * dtype.itemsize for count in positions.values()))
        self._offsets = dict(zip(positions, [0, *ends]))
        self._filled: Set[Clip] = set()
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 -- open as long as the cache lives
        # All of it at once: a disk that is too small is known now, and not in the middle of an epoch.
        os.posix_fallocate(self._file.fileno(), 0, ends[-1])

    def __contains__(self, clip: Clip) -> bool:
        return clip in self._filled

    def get(self, clip: Clip) -> torch.Tensor:
        """Return the output (positions, width) of a clip that is in the cache."""
        output = torch.empty(self._positions[clip], self._width, dtype=self._dtype)
        self._file.seek(self._offsets[clip])
        self._file.readinto(_as_bytes(output))
        return output

    def put(self, clip: Clip, output: torch.Tensor) -> None:
        """Keep the output of a clip."""
        self._file.seek(self._offsets[clip])
        remaining = memoryview(_as_bytes(output.to("cpu", self._dtype).contiguous()))
        while remaining:
            remaining = remaining[self._file.write(remaining) :]
        self._filled.add(clip)


def _as_bytes(tensor: torch.Tensor) -> Any:
    # NumPy has no bfloat16, and the bytes are the same.
    return tensor.view(torch.uint8).numpy().reshape(-1)


class ScratchBudget:
    """Bytes of the scratch folder that caches may still take."""

    def __init__(self, folder: str, limit_bytes: int) -> None:
        """`limit_bytes` over all caches."""
        self._folder = folder
        self._left_bytes = limit_bytes

    def make_cache(
        self, what: str, positions: Mapping[Clip, int], width: int, dtype: torch.dtype
    ) -> Optional[EncoderCache]:
        """Return a cache for clips of so many encoder positions, or None where it would be too large."""
        needed = sum(positions.values()) * width * dtype.itemsize
        if needed > self._left_bytes:
            left = f"{self._left_bytes / 1e6:.0f} MB of scratch space are left"
            logger.info("encoder outputs of %s are not cached: %.0f MB are needed and %s", what, needed / 1e6, left)
            return None
        try:
            cache = EncoderCache(self._folder, positions, width, dtype)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            logger.warning("encoder outputs of %s are not cached: no %.0f MB in %s", what, needed / 1e6, self._folder)
            return None
        self._left_bytes -= needed
        return cache
