"""SIGTERM and Ctrl-C: a step, a write or a message is finished first. Loading and evaluating end at once."""

import contextlib
import os
import signal
import time
from types import FrameType
from typing import Iterator, Optional

#: Of the grace period, what is kept for the termination message and for Python to end: this, or a third of a short one.
_LEFT_SECONDS = 10.0


class Stopped(BaseException):
    """Somebody asked the process to end.

    It is not an Exception, because libraries catch those around what they merely try.
    """

    def __init__(self, doubt: str = "", by: str = "SIGTERM") -> None:
        super().__init__(doubt)
        self.by = by


def seconds_to_write(grace_seconds: int) -> float:
    """Return how long after SIGTERM something may still be written. Pure."""
    return grace_seconds - min(_LEFT_SECONDS, grace_seconds / 3)


def hold_stop_signal() -> None:
    """Have SIGTERM wait until `StopRequest.listen` or `release`, also where the process begins anew.

    The first process of a container has no other one to be ended by: unheard, a stop would be lost, and the pod killed
    at the end of its grace period.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def release_stop_signal() -> None:
    """Let SIGTERM in again, and the one that waits."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


class StopRequest:
    """Remembers the request. Raises Stopped in the middle of the work only where `interruptible()` says so."""

    def __init__(self) -> None:
        #: A reading of time.monotonic().
        self._requested_at: Optional[float] = None
        self._by = "SIGTERM"
        self._interruptible = False
        self._process = os.getpid()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on. The main thread alone may call it."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        release_stop_signal()

    def check(self) -> None:
        """Raise Stopped where the end was asked for."""
        if self._requested_at is not None:
            raise Stopped(by=self._by)

    def check_grace(self, grace_seconds: Optional[int]) -> None:
        """Raise Stopped where the end was asked for and the grace period leaves no time to write any more."""
        if grace_seconds is None or self._requested_at is None:
            return
        if time.monotonic() - self._requested_at >= seconds_to_write(grace_seconds):
            doubt = f"what was still on its way could not be written in the {grace_seconds} s of graceSeconds"
            raise Stopped(doubt, by=self._by)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a request end the block wherever it is. Nothing in it may leave a half-written file."""
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
        if self._requested_at is None:
            self._requested_at = time.monotonic()
            self._by = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        if self._interruptible:
            raise Stopped(by=self._by)
