"""Hide the environment's secrets: /proc/PID/environ shows all variables that a process was started with.

So the process starts itself again without them, in the same process (`exec`). It passes them on in an open file that
has no name. From then on they are in Python's environment, where libraries look for them, and in no file.
"""

import json
import os
import sys
from typing import Mapping, Sequence

from whisper_finetune_trainer.messages import redaction

#: The variable with the number of the open file that has the secrets.
_HANDED_OVER = "WHISPER_FINETUNE_SECRETS_FILE"


def hide_secrets(command_line: Sequence[str]) -> None:
    """Start the process again without its secrets, if it has any. The second time, take them from the open file.

    Do nothing where the system has no such files.
    """
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
        # Some systems allow no such file. A file on a disk must not have the secrets.
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
