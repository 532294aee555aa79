"""SIGTERM and Ctrl-C. A step or a write is finished first. Loading and evaluating end at once."""

import contextlib
import os
import signal
import time
from types import FrameType
from typing import Iterator, Optional

#: How much of the grace period is kept for the termination message and for the end of Python. Of a short grace period
#: it is a third.
_LEFT_SECONDS = 10.0


class Stopped(BaseException):
    """The process was asked to end.

    It is not a subclass of Exception, because libraries catch every Exception around things that they try.
    """

    def __init__(self, doubt: str = "", by: str = "SIGTERM") -> None:
        super().__init__(doubt)
        self.by = by


def seconds_to_write(grace_seconds: int) -> float:
    """Return for how many seconds after SIGTERM something may still be written. Pure."""
    return grace_seconds - min(_LEFT_SECONDS, grace_seconds / 3)


def hold_stop_signal() -> None:
    """Have SIGTERM wait until `StopRequest.listen` or `release_stop_signal`, also if the process starts itself again.

    The kernel ignores SIGTERM for the first process of a container as long as that has no handler. The stop would be
    lost, and the pod killed at the end of its grace period.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def release_stop_signal() -> None:
    """Let SIGTERM through again. One that waits comes at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


class StopRequest:
    """Notes the request to stop. It raises Stopped at once only inside of `interruptible`."""

    def __init__(self) -> None:
        #: A reading of time.monotonic().
        self._requested_at: Optional[float] = None
        self._by = "SIGTERM"
        self._interruptible = False
        self._process = os.getpid()

    def listen(self) -> None:
        """Handle SIGTERM and SIGINT from now on. Only the main thread may call it."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        release_stop_signal()

    def check(self) -> None:
        """Raise Stopped if the process was asked to end."""
        if self._requested_at is not None:
            raise Stopped(by=self._by)

    def check_grace(self, grace_seconds: Optional[int]) -> None:
        """Raise Stopped if the process was asked to end and the grace period leaves no more time to write.

        `grace_seconds` is None where there is no such limit.
        """
        if grace_seconds is None or self._requested_at is None:
            return
        if time.monotonic() - self._requested_at >= seconds_to_write(grace_seconds):
            doubt = f"what was still on its way could not be written in the {grace_seconds} s of graceSeconds"
            raise Stopped(doubt, by=self._by)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a request end the block at any point, with Stopped. Nothing in it may leave a half-written file."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    def _on_signal(self, number: int, _frame: Optional[FrameType]) -> None:
        if os.getpid() != self._process:
            # This is a process of a data loader, which has inherited the handler. SIGTERM comes from the loader, and
            # ends it. Ctrl-C is ignored, because the training still needs the process to reach the checkpoint.
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if number == signal.SIGINT:
            # A second Ctrl-C means that nobody wants to wait for the checkpoint.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self._requested_at is None:
            self._requested_at = time.monotonic()
            self._by = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        if self._interruptible:
            raise Stopped(by=self._by)
