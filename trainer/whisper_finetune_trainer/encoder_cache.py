"""Outputs of a frozen encoder, kept in the scratch folder: the encoder then runs once per clip and not once per epoch.

An output is kept in the type that the decoder computes in (bfloat16 under autocast, else float32), so nothing is lost.
"""

import errno
import logging
import tempfile
from itertools import accumulate
from typing import Any, Iterable, Mapping, Set

import torch

from whisper_finetune_trainer.clips import Clip

logger = logging.getLogger(__name__)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def bytes_needed(positions: Iterable[int], width: int, dtype: torch.dtype) -> int:
    """Return the size of a cache for clips of so many positions each."""
    return sum(positions) * width * dtype.itemsize


class EncoderCache:
    """One place per clip in a file that has no name, so that it is gone however the process ends."""

    def __init__(self, folder: str, positions: Mapping[Clip, int], width: int, dtype: torch.dtype) -> None:
        """`positions` of each clip's output, which decide its place in the file; other clips are never kept."""
        self._positions, self._width, self._dtype = positions, width, dtype
        ends = accumulate(count * width * dtype.itemsize for count in positions.values())
        self._offsets = dict(zip(positions, [0, *ends]))
        self._filled: Set[Clip] = set()
        self._full = False
        # Plain reads and writes instead of a mapped file: there, a full disk ends the process by SIGBUS.
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 -- open as long as the cache lives

    def __contains__(self, clip: Clip) -> bool:
        return clip in self._filled

    def get(self, clip: Clip) -> torch.Tensor:
        """Return the output (positions, width) of a clip that is in the cache."""
        output = torch.empty(self._positions[clip], self._width, dtype=self._dtype)
        self._file.seek(self._offsets[clip])
        self._file.readinto(_as_bytes(output))
        return output

    def put(self, clip: Clip, output: torch.Tensor) -> None:
        """Keep the output of a clip; on a full disk the cache stays as it is."""
        if self._full or clip not in self._offsets:
            return
        try:
            self._file.seek(self._offsets[clip])
            self._write(memoryview(_as_bytes(output.to("cpu", self._dtype).contiguous())))
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            self._full = True
            logger.warning("the scratch folder is full: further encoder outputs are computed anew each epoch")
        else:
            self._filled.add(clip)

    def _write(self, remaining: memoryview) -> None:
        while remaining:
            remaining = remaining[self._file.write(remaining) :]


def _as_bytes(tensor: torch.Tensor) -> Any:
    # NumPy has no bfloat16, and the bytes are the same.
    return tensor.view(torch.uint8).numpy().reshape(-1)
