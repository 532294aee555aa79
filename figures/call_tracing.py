"""Which of the project's modules a piece of work enters, and how often it calls given functions."""

import sys
import threading
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

from source_modules import PACKAGES

_FOLDERS = tuple(f"{folder}/" for folder in PACKAGES.values())


class Trace:
    """The calls of a piece of work. A module that is only imported is not entered."""

    def __init__(self, counted: Iterable[CodeType] = ()) -> None:
        self._counted = frozenset(counted)
        self._files: set[str] = set()
        #: Each call of a counted function with its arguments, in the order of the calls.
        self.calls: list[tuple[CodeType, tuple[Any, ...]]] = []

    @property
    def modules(self) -> frozenset[str]:
        """The modules that were entered, by their paths in the repository's three packages."""
        return frozenset(file.split("whisper_finetune_")[-1].removesuffix(".py") for file in self._files)

    def see(self, frame: FrameType, event: str, _: object) -> None:
        """Record one event of Python's profiler."""
        code = frame.f_code
        if event != "call" or code.co_name == "<module>":
            return
        if code.co_filename.startswith(_FOLDERS):
            self._files.add(code.co_filename)
        if code in self._counted:
            arguments = tuple(frame.f_locals[name] for name in code.co_varnames[: code.co_argcount])
            self.calls.append((code, arguments))


def trace(work: Callable[[], object], counted: Iterable[CodeType] = ()) -> Trace:
    """Do the work, and return the trace of it. Threads that it starts are traced too."""
    seen = Trace(counted)
    threading.setprofile(seen.see)
    sys.setprofile(seen.see)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return seen
