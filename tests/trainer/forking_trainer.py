"""Trainers that begin with PyTorch loaded. Run as a program, it loads it once and forks for each trainer.

All but that is as in a pod: the environment, the log, the termination message and the exit code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from repository import ROOT
from whisper_finetune_trainer.entrypoints import ending
from whisper_finetune_trainer.machine import library_loading

#: What a trainer loads by itself, in this order.
_LOADED_BEFORE = ("whisper_finetune_trainer.training.train", "transformers.models.whisper.modeling_whisper")


class ForkingTrainer:
    """The process that forks. It runs one trainer at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, environment: Mapping[str, str], termination_log: Path, log: Path) -> int:
        """Run a trainer to its end and return its exit code, or minus the signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([dict(environment), str(termination_log), str(log)]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process that forks ended with {self._process.wait()}"
        return int(answer)


@contextmanager
def forking_trainer(home: Path) -> Iterator[ForkingTrainer]:
    """Start the process, whose libraries find an empty home folder; its end is the end of its input."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"},
        "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("crds", "trainer", "tests")),
        "HF_HOME": str(home),
        "OMP_NUM_THREADS": "1",
    }
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, __file__], env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        yield ForkingTrainer(process)


def _serve() -> None:
    for name in _LOADED_BEFORE:
        library_loading.load_module(name)
    for line in sys.stdin:
        environment, termination_log, log = json.loads(line)
        child = os.fork()
        if child == 0:
            ending.leave_process(_trainer(environment, termination_log, log))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _trainer(environment: Mapping[str, str], termination_log: str, log: str) -> int:
    from whisper_finetune_trainer import __main__  # noqa: PLC0415 -- it reads the command line of its process

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ.update(environment)
    return __main__.main(["--termination-log", termination_log])


if __name__ == "__main__":
    _serve()
