"""Lines of a trainer's log have no secrets and no control characters, whoever writes them."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest

from repository import ROOT

TOKEN = "hf_TOPSECRET"  # noqa: S105 (a marker)
WRITERS = {
    "a logger": "logging.getLogger('any').warning('%s', text)",
    "a logger of a library": (
        "own = logging.getLogger('library'); own.propagate = False; "
        "own.addHandler(logging.StreamHandler()); own.error(text)"
    ),
    "a traceback": "\ntry:\n    raise ValueError(text)\nexcept ValueError:\n    logging.exception('x')",
    "a stack": "logging.warning(text, stack_info=True)",
    "a warning": "warnings.warn(text)",
    "an error that nobody catches": "raise ValueError(text)",
    "an error that nobody catches in a thread": (
        "\ndef fail():\n    raise ValueError(text)\nthread = threading.Thread(target=fail)\n"
        "thread.start()\nthread.join()"
    ),
    "an error that is its cause": "raise ValueError('x') from KeyError(text)",
    "print": "print(text)",
    "print to stderr": "print(text, file=sys.stderr)",
    "lines": "sys.stderr.writelines([text])",
}
PROGRAM = """
import logging, sys, threading, warnings
from whisper_finetune_trainer.messages import logs
logs.start_log()
logs.guard_streams()
text = "clip \\x1b]52;c;cm0=\\x07\\x1b[2J\\x9b2J\\r\\u202e {token} https://me:hunter2@store\\n"
text += "2026-01-01 INFO all is well"
{writer}
"""


@functools.lru_cache(maxsize=8)  # functools.cache is of Python 3.9
def written_by(writer: str) -> str:
    program = PROGRAM.format(writer=writer, token=TOKEN)
    environment = {
        **os.environ,
        "HF_TOKEN": TOKEN,
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("crds", "trainer")),
        "PYTHONIOENCODING": "utf-8",
    }
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=False, encoding="utf-8", timeout=60
    )
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_no_writer_leaves_secrets_or_sequences_in_the_log(writer: str) -> None:
    log = written_by(writer)
    assert "clip \\x1b]52;c;cm0=\\x07" in log.replace("\\\\", "\\")
    assert [line for line in log.split("\n") if not line.isprintable()] == []
    assert "TOPSECRET" not in log
    assert "hunter2" not in log


@pytest.mark.parametrize("name", ["a logger", "a logger of a library", "a traceback", "an error that nobody catches"])
def test_no_line_end_of_the_data_begins_what_looks_like_a_line_of_the_log(name: str) -> None:
    assert not [line for line in written_by(WRITERS[name]).split("\n") if line.startswith("2026-01-01")]
