"""python -m whisper_finetune_trainer [run SPEC.yaml | plan SPEC.yaml | compile SPEC.yaml]; see arguments.py."""

import faulthandler
import sys
from typing import Sequence

from whisper_finetune_trainer.entrypoints import secret_environment
from whisper_finetune_trainer.machine import stopping

if __name__ == "__main__":
    # Before anything else is loaded: that takes a while, and the process may begin anew.
    stopping.hold()
    secret_environment.hide(sys.argv[1:])

from whisper_finetune_trainer.entrypoints import arguments, ending, pod, workstation
from whisper_finetune_trainer.messages import logs


def main(command_line: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    given = arguments.parse(command_line)
    logs.start()
    # A crash inside a library leaves at least where it was in the log.
    faulthandler.enable()
    if given.command == "run":
        return workstation.run(given)
    if given.command in ("plan", "compile"):
        # Nothing is to be saved.
        stopping.release()
    if given.command == "plan":
        return workstation.plan(given)
    if given.command == "compile":
        return workstation.compile_graph(given)
    logs.guard_streams()
    return pod.run(given.termination_log)


if __name__ == "__main__":
    ending.leave(main(sys.argv[1:]))
