"""Which own modules a piece of work enters, and how often it calls the functions that are asked about."""

import sys
import threading
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

from source_modules import PACKAGES

_FOLDERS = tuple(f"{folder}/" for folder in PACKAGES.values())


class Trace:
    """What was seen of a piece of work. To import a module is not to enter it."""

    def __init__(self, counted: Iterable[CodeType] = ()) -> None:
        self._counted = frozenset(counted)
        self._files: set[str] = set()
        #: Each call of a function that is counted, with the arguments that it was called with, in their order.
        self.calls: list[tuple[CodeType, tuple[Any, ...]]] = []

    @property
    def modules(self) -> frozenset[str]:
        """The modules that were entered, by their paths in the repository's three packages."""
        return frozenset(file.split("whisper_finetune_")[-1].removesuffix(".py") for file in self._files)

    def see(self, frame: FrameType, event: str, _: object) -> None:
        """Take one event of Python's profiler."""
        code = frame.f_code
        if event != "call" or code.co_name == "<module>":
            return
        if code.co_filename.startswith(_FOLDERS):
            self._files.add(code.co_filename)
        if code in self._counted:
            arguments = tuple(frame.f_locals[name] for name in code.co_varnames[: code.co_argcount])
            self.calls.append((code, arguments))


def trace(work: Callable[[], object], counted: Iterable[CodeType] = ()) -> Trace:
    """Do the work, and return what was seen of it, on the threads that it starts too."""
    seen = Trace(counted)
    threading.setprofile(seen.see)
    sys.setprofile(seen.see)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return seen
