"""Logs as JSON lines: time, level, message, and the run that they are about."""

import json
import logging
import sys
from datetime import UTC, datetime

from whisper_finetune_api.reading import printable_text
from whisper_finetune_operator.runs import Run

_ABOUT = ("run", "namespace", "uid")
_encode = json.JSONEncoder(ensure_ascii=False).encode


def about(run: Run) -> dict[str, str]:
    """Return the `extra` of a log line about a run."""
    return {"run": run.name, "namespace": run.namespace, "uid": run.uid}


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix("whisper_finetune_operator."),
            "message": record.getMessage(),
        }
        line.update({key: record.__dict__[key] for key in _ABOUT if key in record.__dict__})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return escaped(_encode(line))


def escaped(text: str) -> str:
    """Return the same line or JSON without characters that steer a terminal. Letters of all scripts stay readable."""
    return printable_text(text, _escape)


def _escape(character: str) -> str:
    # JSON treats DEL as a letter like any other.
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def write_json_lines(level: str) -> None:
    """Send all logs of this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    # What no line shows is not looked up for each: logging's own way to leave it out.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They log every request and every retry. What matters of that is in the operator's own lines and metrics.
    for noisy in ("httpx2", "httpcore2", "kopf", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
