"""python -m whisper_finetune_trainer [run SPEC.yaml | plan SPEC.yaml | compile SPEC.yaml]. See arguments.py."""

import faulthandler
import sys
from typing import Sequence

from whisper_finetune_trainer.entrypoints import secret_environment
from whisper_finetune_trainer.machine import stopping

if __name__ == "__main__":
    # Before anything else is loaded: loading takes a while, and `hide_secrets` may start the process again.
    stopping.hold_stop_signal()
    secret_environment.hide_secrets(sys.argv[1:])

from whisper_finetune_trainer.entrypoints import arguments, ending, pod, workstation
from whisper_finetune_trainer.messages import logs


def main(command_line: Sequence[str]) -> int:
    """Do what the command line says. Return the exit code."""
    given = arguments.parse_arguments(command_line)
    logs.start_log()
    # After a crash inside a library the log says at least where it was.
    faulthandler.enable()
    if given.command == "run":
        return workstation.run_on_workstation(given)
    if given.command in ("plan", "compile"):
        # These commands have nothing to save, so a signal may end them at once.
        stopping.release_stop_signal()
    if given.command == "plan":
        return workstation.print_plan(given)
    if given.command == "compile":
        return workstation.compile_graph(given)
    logs.guard_streams()
    return pod.run_in_pod(given.termination_log)


if __name__ == "__main__":
    ending.leave_process(main(sys.argv[1:]))
