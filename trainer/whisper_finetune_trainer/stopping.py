"""SIGTERM and Ctrl-C: a step, a write or a message is finished first; loading and evaluating end at once."""

import contextlib
import os
import signal
from types import FrameType
from typing import Iterator, Optional


class Stopped(BaseException):
    """Somebody asked the process to end; no Exception, because libraries catch those around what they merely try."""


class StopRequest:
    """Remembers the request; raises Stopped in the middle of the work only where `interruptible()` says so."""

    def __init__(self) -> None:
        self._requested = False
        self._interruptible = False
        self._process = os.getpid()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on; the main thread alone may call it."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def check(self) -> None:
        """Raise Stopped where the end was asked for."""
        if self._requested:
            raise Stopped

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a request end the block wherever it is; nothing in it may leave a half-written file."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def _on_signal(self, number: int, _frame: Optional[FrameType]) -> None:
        if os.getpid() != self._process:
            # A data loader's process, which has inherited this handler. By SIGTERM its loader ends it; Ctrl-C reaches
            # it too, while the training still needs it for the checkpoint.
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if number == signal.SIGINT:
            # Whoever presses Ctrl-C twice does not want to wait for the checkpoint.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._requested = True
        if self._interruptible:
            raise Stopped
