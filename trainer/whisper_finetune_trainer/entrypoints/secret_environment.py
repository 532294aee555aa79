"""Secrets of the environment, put where no file shows them: /proc/PID/environ shows all that a process began with.

So the process begins anew without them, in its own place and under its own number. They come along in an open file that
has no name, and are variables of Python's environment from then on, where libraries look for them.
"""

import json
import os
import sys
from typing import Mapping, Sequence

from whisper_finetune_trainer.messages import redaction

#: Number of the open file, while one process hands its secrets to the next.
_HANDED_OVER = "WHISPER_FINETUNE_SECRETS_FILE"


def hide_secrets(command_line: Sequence[str]) -> None:
    """Begin anew without secrets where there are some, and take them over there. Do nothing where the system cannot."""
    handed_over = os.environ.pop(_HANDED_OVER, None)
    if handed_over is not None:
        os.environ.update(_taken(int(handed_over)))
        return
    secrets = redaction.secrets_of(os.environ)
    if secrets and hasattr(os, "memfd_create"):
        _begin_anew(secrets, command_line)


def _begin_anew(secrets: Mapping[str, str], command_line: Sequence[str]) -> None:
    try:
        file = os.memfd_create("secrets", 0)
    except OSError:
        # Some systems allow no such file, and nothing may be known of secrets that lie on a disk.
        return
    with os.fdopen(file, "wb", closefd=False) as opened:
        opened.write(json.dumps(secrets).encode())
    plain = {name: value for name, value in os.environ.items() if name not in secrets}
    command = [sys.executable, "-m", "whisper_finetune_trainer", *command_line]
    os.execve(sys.executable, command, {**plain, _HANDED_OVER: str(file)})  # noqa: S606 (no shell is wanted)


def _taken(file: int) -> Mapping[str, str]:
    os.lseek(file, 0, os.SEEK_SET)
    with os.fdopen(file, "rb") as opened:
        secrets: Mapping[str, str] = json.loads(opened.read())
    return secrets
