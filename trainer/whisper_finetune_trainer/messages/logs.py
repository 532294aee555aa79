"""The log: plain lines with the time, on stderr. It has no secrets and no control characters."""

import logging
import os
import sys
import threading
import traceback
from typing import Any, Iterable, TextIO, cast

from whisper_finetune_trainer.messages import errors, redaction

_LINE = "%(asctime)s %(levelname)s %(message)s"
#: At INFO these libraries write about themselves, and not about the run.
_QUIET = ("httpx", "httpcore", "urllib3", "filelock", "numba", "fsspec")
logger = logging.getLogger(__name__)


def start_log(level: int = logging.INFO) -> None:
    """Write the log of this process to stderr from now on, with what libraries log and with uncaught exceptions."""
    # A formatter would not do: libraries have handlers of their own, and the progress bar replaces the log's handler.
    logging.setLogRecordFactory(_CleanRecord)
    logging.basicConfig(level=level, format=_LINE, datefmt="%Y-%m-%dT%H:%M:%S%z")
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda found: _log_uncaught(found.exc_type, found.exc_value, found.exc_traceback)
    sys.unraisablehook = lambda found: _log_uncaught(found.exc_type, found.exc_value, found.exc_traceback)


def guard_streams() -> None:
    """Clean what libraries print to stdout and stderr, too. It is for pods: a progress bar must move the cursor."""
    sys.stdout, sys.stderr = (cast("TextIO", _CleanStream(stream)) for stream in (sys.stdout, sys.stderr))


def clean_text(text: str) -> str:
    """Return a text without secrets and control characters. Lines after the first are indented.

    So a line end in the name of a file does not begin something that looks like another line of the log.
    """
    plain = redaction.without_secrets(text, os.environ)
    return "\n  ".join(map(errors.escaped, plain.split("\n")))


class _CleanRecord(logging.LogRecord):
    """A log record that is cleaned, whichever handler and formatter writes it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        if self.exc_info and self.exc_info[0] is not None:
            self.exc_text = clean_text("".join(traceback.format_exception(*self.exc_info)).rstrip("\n"))
        if self.stack_info:
            self.stack_info = clean_text(self.stack_info)

    def getMessage(self) -> str:  # noqa: N802 (logging's own name)
        """Return the message without secrets and control characters."""
        return clean_text(super().getMessage())


class _CleanStream:
    """A text stream whose lines are cleaned as they are written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text. A carriage return ends a line, because it would hide the line in a terminal."""
        plain = redaction.without_secrets(text.replace("\r\n", "\n").replace("\r", "\n"), os.environ)
        self._stream.write("\n".join(map(errors.escaped, plain.split("\n"))))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each text."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _log_uncaught(kind: Any, error: Any, where: Any) -> None:
    if kind is not None and issubclass(kind, SystemExit):
        return
    logger.critical("unexpected", exc_info=(kind, error, where))
