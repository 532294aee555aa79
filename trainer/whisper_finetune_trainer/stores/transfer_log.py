"""How far a transfer is, in the log every few seconds."""

import logging
import time
from typing import Any

from fsspec.callbacks import Callback

_EVERY_SECONDS = 10.0
_MEGABYTE = 1_000_000
logger = logging.getLogger(__name__)


class TransferLog(Callback):  # type: ignore[misc]  # fsspec ships no types
    """Told by fsspec of each part that is done; short transfers leave no line."""

    def __init__(self, what: str) -> None:
        """`what` as in `downloading model.safetensors`."""
        super().__init__()
        self._what = what
        self._said_at = time.monotonic()

    def call(self, *_: Any, **__: Any) -> None:
        """Say how far it is, unless that was said just now."""
        if time.monotonic() - self._said_at >= _EVERY_SECONDS:
            self._said_at = time.monotonic()
            logger.info("%s: %.0f of %.0f MB", self._what, self.value / _MEGABYTE, (self.size or 0) / _MEGABYTE)
